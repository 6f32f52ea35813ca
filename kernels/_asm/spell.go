package main

import (
	"fmt"
	"os"
	"strings"
)

const include = "#include \"textflag.h\"\n"

// align begins every function on a line of the cache. Else the linker places it on any
// half of one, and a loop is up to 4 % faster or slower whenever other code changes.
const align = "\tPCALIGN $64"

// spell checks an assembly file and replaces the instructions that Go's assembler
// lacks, or encodes otherwise than meant, by their bytes.
func spell(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	out, err := spelled(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(out), 0o644)
}

// spelled is the text of an assembly file as spell leaves it.
func spelled(text string) (string, error) {
	lines := strings.Split(text, "\n")
	name, isa, macro := "", "", false
	for i, line := range lines {
		if m := function.FindStringSubmatch(line); m != nil {
			var err error
			name = m[1]
			if isa, err = isaOf(name); err != nil {
				return "", err
			}
			lines[i] += "\n" + align
			continue
		}
		if name == "" || !strings.HasPrefix(line, "\t") {
			continue
		}
		op := strings.Join(strings.Fields(line), " ")
		if err := checkVEX(name, isa, op); err != nil {
			return "", err
		}
		if strings.HasPrefix(op, "VPDPBUSD ") && !strings.Contains(op, "Z") {
			if isa != "AVXVNNI" {
				return "", fmt.Errorf("%s: %q is of AVX-VNNI, which %s does not have", name, op, isa)
			}
			call, err := vexLine(op)
			if err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			lines[i], macro = "\t"+call, true
			continue
		}
		code, err := amxBytes(op)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if code == nil {
			continue
		}
		if isa != "AMX" {
			return "", fmt.Errorf("%s: %q is of AMX, which %s does not have", name, op, isa)
		}
		var b strings.Builder
		for _, c := range code {
			fmt.Fprintf(&b, "BYTE $0x%02x; ", c)
		}
		lines[i] = "\t" + b.String() + "// " + op
	}
	out := strings.Join(lines, "\n")
	if macro {
		out = strings.Replace(out, include, include+vexMacro, 1)
	}
	return out, nil
}
