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
	set := flag.String("set", "", "which kernels to generate: int, float, attention, pack, round, vector or limits")
	vex := flag.String("vex", "", "rewrite the 256-bit VPDPBUSD instructions of this file")
	flag.Parse()
	if *vex != "" {
		if err := toVEX(*vex); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
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
	default:
		panic("unknown -set " + *set)
	}
	build.Generate()
}
