//go:build amd64 && !noasm

package matmul

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/layout"
)

// The generated tables list each tile by its tier and size.
func TestGeneratedTables(t *testing.T) {
	name := func(f any) string {
		full := runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
		return full[strings.LastIndex(full, ".")+1:]
	}
	named := map[cpu.ISA]string{cpu.AVX2: "AVX2", cpu.AVXVNNI: "AVXVNNI", cpu.AVX512VNNI: "AVX512VNNI"}
	for _, row := range tileTable {
		f := name(row.mul)
		tokens := fmt.Sprint("x", row.tokens)
		if row.rows == 2*layout.PanelRows {
			tokens = "2" + tokens
		}
		if !strings.Contains(f, named[row.isa]) || !strings.HasSuffix(f, tokens) || !strings.HasPrefix(f, "mul") {
			t.Errorf("%s is listed as %dx%d of %s", f, row.rows, row.tokens, row.isa)
		}
	}
	for _, row := range amxTable {
		if f := name(row.unpack); !strings.HasSuffix(f, "AMX") {
			t.Errorf("%s is listed as AMX", f)
		}
	}
	// Every format has kernels of every tier but AMX.
	for _, f := range format.Formats {
		for _, isa := range []cpu.ISA{cpu.AVX2, cpu.AVXVNNI, cpu.AVX512VNNI} {
			if !slices.ContainsFunc(tileTable, func(row tableTile) bool { return row.format == f.Name && row.isa == isa && row.tokens == 1 }) {
				t.Errorf("%s has no kernel of %s", f.Name, isa)
			}
		}
	}
}
