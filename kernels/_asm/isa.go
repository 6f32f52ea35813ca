package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Functions are named after the instruction set they need. AVX-512 and AMX have the
// EVEX encoding; the others run on CPUs that know VEX alone.
var (
	isas = []string{"AMX", "AVX512", "AVXVNNI", "AVX2"} // AMX's functions may use AVX-512
	evex = []string{"AMX", "AVX512"}
)

// isaOf is the instruction set of a function, by its name.
func isaOf(function string) (string, error) {
	i := slices.IndexFunc(isas, func(isa string) bool { return strings.Contains(function, isa) })
	if i < 0 {
		return "", fmt.Errorf("%s: its name has none of the instruction sets %s", function, strings.Join(isas, ", "))
	}
	return isas[i], nil
}

// function matches the line that a function begins with.
var function = regexp.MustCompile(`^TEXT ·(\w+)\(SB\)`)

// What VEX cannot express: registers from 16 up, those of 512 bits, masks, and the
// suffixes of opcodes, which all say something about masks, broadcasts or rounding.
var (
	evexRegister = regexp.MustCompile(`\b([XY](1[6-9]|2\d|3[01])|Z\d+|K[0-7])\b`)
	evexOpcode   = regexp.MustCompile(`^\w+\.`)
)

// checkVEX refuses an instruction of a function that is to have the VEX encoding
// alone. Go's assembler would take EVEX for it without a word.
func checkVEX(function, isa, op string) error {
	if slices.Contains(evex, isa) {
		return nil
	}
	if r := evexRegister.FindString(op); r != "" {
		return fmt.Errorf("%s: %q uses %s, which %s cannot name", function, op, r, isa)
	}
	if s := evexOpcode.FindString(op); s != "" {
		return fmt.Errorf("%s: %q has a suffix, which %s cannot express", function, op, isa)
	}
	return nil
}
