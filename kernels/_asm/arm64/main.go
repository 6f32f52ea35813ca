// The generator of package kernels' arm64 assembly; run it with
//
//	go generate ./kernels
//
// avo knows amd64 alone, so this one writes Go's assembly itself: memory and
// control flow with Go's mnemonics, arithmetic with [encode].
package main

import (
	"flag"
	"os"
	"strings"

	"nibble/kernels/_asm/table"
)

func main() {
	set := flag.String("set", "", "which kernels to generate: int, float, attention, vector or limits")
	out := flag.String("out", "", "the assembly file to write")
	pkg := flag.String("pkg", "", "the package that the files are of")
	list := flag.String("table", "", "the Go file to write that lists the kernels, if they are listed")
	stubs := flag.String("stubs", "", "the Go file of declarations to write")
	flag.Parse()
	var f file
	stub := table.File("go run ./arm64 "+strings.Join(os.Args[1:], " "), "arm64 && !noasm", *pkg)
	f.text.WriteString(strings.Replace(stub, "package "+*pkg+"\n", "#include \"textflag.h\"\n", 1))
	f.stubs.WriteString(stub)
	switch *set {
	case "int":
		intKernels(&f)
	case "float":
		floatKernels(&f)
	case "attention":
		attentionKernels(&f)
	case "vector":
		vectorKernels(&f)
	case "limits":
		limitKernels(&f)
	default:
		panic("unknown -set " + *set)
	}
	write(*out, f.text.String())
	write(*stubs, f.stubs.String())
	if *list != "" {
		write(*list, stub+table.Tiles(f.tiles))
	}
}

func write(path, text string) {
	if err := table.Write(path, text); err != nil {
		panic(err)
	}
}
