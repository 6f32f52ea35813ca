package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

const include = "#include \"textflag.h\"\n"

// spell replaces the instructions of an assembly file that Go's assembler lacks, or
// encodes otherwise than meant, by their bytes.
func spell(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	out := ymmVPDPBUSD.ReplaceAllStringFunc(string(text), vexLine)
	if out != string(text) {
		out = strings.Replace(out, include, include+vexMacro, 1)
	}
	lines := strings.Split(out, "\n")
	for i, line := range lines {
		op := strings.Join(strings.Fields(line), " ")
		code, err := amxBytes(op)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		if code == nil {
			continue
		}
		var b bytes.Buffer
		for _, c := range code {
			fmt.Fprintf(&b, "BYTE $0x%02x; ", c)
		}
		lines[i] = "\t" + b.String() + "// " + op
	}
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644)
}
