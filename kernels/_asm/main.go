// The generator of package kernels' amd64 assembly; run it with
//
//	go generate ./kernels
//
// It lives in a module of its own so that avo never enters nibble's.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/mmcloughlin/avo/build"
)

func main() {
	set := flag.String("set", "", "which kernels to generate: int, float, attention, pack, round, vector, limits or amx")
	list := flag.String("table", "", "the Go file to write that lists the kernels, if they are listed")
	flag.Parse()
	build.ConstraintExpr("amd64,!noasm")
	switch *set {
	case "int":
		intKernels()
	case "float":
		floatKernels()
	case "attention":
		attentionKernels()
	case "pack":
		packKernels()
	case "round":
		roundKernels()
	case "vector":
		vectorKernels()
	case "limits":
		limitKernels()
	case "amx":
		amxKernels()
	default:
		panic("unknown -set " + *set)
	}
	build.Generate()
	err := spell(flag.Lookup("out").Value.String())
	if err == nil && *list != "" {
		err = writeTable(*list, flag.Lookup("pkg").Value.String())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
