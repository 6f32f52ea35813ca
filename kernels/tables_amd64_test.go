//go:build amd64 && !noasm

package kernels

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"nibble/kernels/layout"
)

// The tables of each tier name functions of that tier, or of those before it: a
// function of a higher one would run where the CPU lacks its instructions. The source
// is read, for on a CPU that has them all nothing else shows it.
func TestTablesOfTiers(t *testing.T) {
	var files []*ast.File
	f, err := parser.ParseFile(token.NewFileSet(), "asm_amd64.go", nil, 0)
	must(t, err)
	files = append(files, f)
	c := tableChecker{assembly: map[string]bool{}, needs: map[string][]string{}}
	for name := range assemblyText(t) {
		c.assembly[name] = true
	}
	for range 3 { // what a name stands for may be defined after it is used
		for _, f := range files {
			c.define(f)
		}
	}
	for _, f := range files {
		for _, d := range f.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && slices.Contains([]string{"archOps", "archFloatKernels", "peakInt", "peakFloat"}, f.Name.Name) {
				c.check(t, f.Body, AVX2)
			}
		}
	}
	if c.seen < 60 {
		t.Errorf("%d functions were found in the tables: the test does not see them", c.seen)
	}
}

// The generated tables list each tile by its tier and size.
func TestGeneratedTables(t *testing.T) {
	name := func(f any) string {
		full := runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
		return full[strings.LastIndex(full, ".")+1:]
	}
	for _, row := range tileTable {
		f := name(row.mul)
		tokens := fmt.Sprint("x", row.tokens)
		if row.rows == 2*layout.PanelRows {
			tokens = "2" + tokens
		}
		if tierNamed(t, f) != row.isa || !strings.HasSuffix(f, tokens) || !strings.HasPrefix(f, "mul") {
			t.Errorf("%s is listed as %dx%d of %s", f, row.rows, row.tokens, row.isa)
		}
	}
	for _, row := range amxTable {
		if f := name(row.unpack); tierNamed(t, f) != AMX {
			t.Errorf("%s is listed as AMX", f)
		}
	}
	// Every format has kernels of every tier but AMX.
	for _, f := range formats {
		for _, isa := range []ISA{AVX2, AVXVNNI, AVX512VNNI} {
			if !slices.ContainsFunc(tileTable, func(row tableTile) bool { return row.format == f.Name && row.isa == isa && row.tokens == 1 }) {
				t.Errorf("%s has no kernel of %s", f.Name, isa)
			}
		}
	}
}

// tableChecker knows the assembly functions that names of variables and functions
// stand for.
type tableChecker struct {
	assembly map[string]bool
	needs    map[string][]string
	seen     int
}

// functions lists the assembly functions that are named in a node, by whatever name.
func (c *tableChecker) functions(n ast.Node) (all []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if c.assembly[id.Name] {
				all = append(all, id.Name)
			}
			all = append(all, c.needs[id.Name]...)
		}
		return true
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// define learns what functions contain and what variables are set to.
func (c *tableChecker) define(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "transposeAsm16" || n.Name.Name == "transposeAsm" {
				c.needs[n.Name.Name] = c.functions(n.Body)
			}
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE || len(n.Lhs) != len(n.Rhs) {
				return true
			}
			for i, to := range n.Lhs {
				if name := to.(*ast.Ident).Name; name != "ops" { // which is set tier by tier
					c.needs[name] = c.functions(n.Rhs[i])
				}
			}
		}
		return true
	})
}

// check compares what is used with the tier it is used for: that of an element with the
// field ISA, or of a condition.
func (c *tableChecker) check(t *testing.T, n ast.Node, tier ISA) {
	tiers := map[string]ISA{"Generic": Generic, "AVX2": AVX2, "AVXVNNI": AVXVNNI, "AVX512VNNI": AVX512VNNI, "AMX": AMX}
	// lowest is the first tier that an expression names.
	lowest := func(e ast.Node) (isa ISA) {
		ast.Inspect(e, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && tiers[id.Name] != "" && (isa == "" || slices.Index(Tiers(), tiers[id.Name]) < slices.Index(Tiers(), isa)) {
				isa = tiers[id.Name]
			}
			return true
		})
		return isa
	}
	ast.Inspect(n, func(inner ast.Node) bool {
		if inner == n {
			return true
		}
		switch inner := inner.(type) {
		case *ast.AssignStmt:
			if inner.Tok == token.DEFINE && inner.Lhs[0].(*ast.Ident).Name != "ops" {
				return false // counts where it is used
			}
		case *ast.CompositeLit:
			for _, e := range inner.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "ISA" {
						c.check(t, inner, lowest(kv.Value))
						return false
					}
				}
			}
		case *ast.IfStmt:
			isa := lowest(inner.Cond)
			if isa == "" {
				t.Errorf("a condition names no tier")
			}
			c.check(t, inner.Body, isa)
			return false
		case *ast.CaseClause:
			isa := AVX2 // the default
			if len(inner.List) > 0 {
				isa = lowest(inner.List[0])
			}
			for _, s := range inner.Body {
				c.check(t, s, isa)
			}
			return false
		case *ast.Ident:
			for _, f := range c.functions(inner) {
				c.seen++
				if needs := tierNamed(t, f); slices.Index(Tiers(), needs) > slices.Index(Tiers(), tier) || tier == AVX512VNNI && needs == AVXVNNI {
					t.Errorf("%s, by the name %s, is used in the tier %s", f, inner.Name, tier)
				}
			}
		}
		return true
	})
}
