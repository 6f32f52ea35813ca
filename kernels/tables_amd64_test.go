//go:build amd64 && !noasm

package kernels

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
)

// The tables of each tier name functions of that tier, or of those before it: a
// function of a higher one would run where the CPU lacks its instructions. The source
// is read, for on a CPU that has them all nothing else shows it.
func TestTablesOfTiers(t *testing.T) {
	var files []*ast.File
	for _, name := range []string{"vector/ops_amd64.go", "attention/ops_amd64.go", "matmul/kernels_amd64.go", "cpu/limits_asm_amd64.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		kerneltest.Must(t, err)
		files = append(files, f)
	}
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
			if ok && slices.Contains([]string{"archOps", "archHeads", "archFloatKernels", "PeakInt", "PeakFloat"}, f.Name.Name) {
				c.check(t, f.Body, cpu.AVX2)
			}
		}
	}
	if c.seen < 60 {
		t.Errorf("%d functions were found in the tables: the test does not see them", c.seen)
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
			if n.Name.Name == "TransposeAsm16" || n.Name.Name == "TransposeAsm" {
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
func (c *tableChecker) check(t *testing.T, n ast.Node, tier cpu.ISA) {
	tiers := map[string]cpu.ISA{"Generic": cpu.Generic, "AVX2": cpu.AVX2, "AVXVNNI": cpu.AVXVNNI, "AVX512VNNI": cpu.AVX512VNNI, "AMX": cpu.AMX}
	// lowest is the first tier that an expression names.
	lowest := func(e ast.Node) (isa cpu.ISA) {
		ast.Inspect(e, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && tiers[id.Name] != "" && (isa == "" || slices.Index(cpu.Tiers(), tiers[id.Name]) < slices.Index(cpu.Tiers(), isa)) {
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
			isa := cpu.AVX2 // the default
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
				if needs := tierNamed(t, f); slices.Index(cpu.Tiers(), needs) > slices.Index(cpu.Tiers(), tier) || tier == cpu.AVX512VNNI && needs == cpu.AVXVNNI {
					t.Errorf("%s, by the name %s, is used in the tier %s", f, inner.Name, tier)
				}
			}
		}
		return true
	})
}
