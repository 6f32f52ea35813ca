package kernels

import (
	"slices"
	"strings"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
	"nibble/kernels/matmul"
)

func testEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := New(o)
	kerneltest.Must(t, err)
	t.Cleanup(e.Close)
	return e
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []Options{{ISA: "mmx"}, {Threads: -1}, {Threads: 1025}} {
		if e, err := New(o); err == nil {
			e.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
	all := testEngine(t, Options{Threads: 1}).Kernels()
	if e, err := New(Options{Threads: 1, Exclude: all}); err == nil {
		e.Close()
		t.Error("an engine without kernels was made")
	}
}

// An engine has the kernels of its tier and those before it, without those excluded.
func TestKernelsOfTier(t *testing.T) {
	for _, isa := range cpu.Supported() {
		e := testEngine(t, Options{ISA: isa, Threads: 1, Exclude: []string{string(isa) + " 8x2"}})
		if e.ISA() != isa || e.Threads() != 1 {
			t.Errorf("asked for %s, got %s and %d threads", isa, e.ISA(), e.Threads())
		}
		var want []string
		for _, k := range matmul.Kernels() {
			if slices.Index(cpu.Tiers(), k.ISA) <= slices.Index(cpu.Tiers(), isa) && slices.Contains(cpu.Supported(), k.ISA) && k.String() != string(isa)+" 8x2" && !slices.Contains(want, k.String()) {
				want = append(want, k.String())
			}
		}
		if got := e.Kernels(); !slices.Equal(got, want) {
			t.Errorf("%s: kernels %v, want %v", isa, got, want)
		}
	}
}

func TestISAFromEnvironment(t *testing.T) {
	for _, isa := range cpu.Supported() {
		t.Setenv("NIBBLE_ISA", strings.ToUpper(string(isa)))
		if got := testEngine(t, Options{Threads: 1}).ISA(); got != isa {
			t.Errorf("NIBBLE_ISA=%s gives %s", isa, got)
		}
	}
	t.Setenv("NIBBLE_ISA", "mmx")
	if e, err := New(Options{Threads: 1}); err == nil || !strings.Contains(err.Error(), "NIBBLE_ISA") {
		t.Errorf("an unknown tier gives %v, %v", e, err)
	}
	t.Setenv("NIBBLE_ISA", "")
	if got := testEngine(t, Options{Threads: 1}).ISA(); got != kerneltest.Best() {
		t.Errorf("without NIBBLE_ISA: %s, want %s", got, kerneltest.Best())
	}
}
