package matmul

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/kerneltest"
	"nibble/kernels/layout"
)

func TestBucketOf(t *testing.T) {
	for m, want := range map[int]int{1: 1, 2: 4, 4: 4, 5: 16, 16: 16, 17: 64, 64: 64, 65: 256, 256: 256, 5000: 256} {
		if got := bucketOf(m); got != want {
			t.Errorf("%d tokens are in bucket %d, want %d", m, got, want)
		}
	}
}

// randomPair is a matrix of four bits and one of eight, of one shape.
func randomPair(t *testing.T, n, k int) (four, eight *Linear) {
	t.Helper()
	var err error
	four, err = RandomWeights(n, k, format.Scheme{Bits: 4, Group: 32, Sym: true})
	kerneltest.Must(t, err)
	eight, err = RandomWeights(n, k, format.Scheme{Bits: 8, Group: 32, Sym: true})
	kerneltest.Must(t, err)
	return four, eight
}

// Choices are looked up by format, shape and batch, and taken as they are; kernels of
// four and eight bits often share a name. What nothing was chosen for takes the last
// kernel.
func TestInstall(t *testing.T) {
	e := testEngine(t, Options{Threads: 3})
	four, eight := randomPair(t, 64, 96)
	other, _ := randomPair(t, 48, 96)
	for _, name := range e.Kernels() {
		var choices []Chosen
		for _, w := range []*Linear{four, eight} {
			choices = append(choices, Chosen{w.Quant.Scheme, 64, 96, 16, name, 2, 5})
		}
		e.Install(choices)
		for _, w := range []*Linear{four, eight} {
			s := w.Quant.Scheme
			for m, chosen := range map[int]bool{1: false, 4: false, 5: true, 16: true, 17: false} {
				got := e.wayFor(w, m)
				k := e.Ints[got.Kernel]
				if !k.Takes(s) {
					t.Fatalf("%s: %s is multiplied by %s of %s", name, s, k, k.Format)
				}
				if !has(e, name, s) || !chosen {
					if got != e.static(s) {
						t.Errorf("%s, %s, %d tokens: %+v, want what is taken without a choice", name, s, m, got)
					}
				} else if want := (Way{got.Kernel, 2, 5}); got != want || k.String() != name {
					t.Errorf("%s, %s, %d tokens: %s %+v, want %+v", name, s, m, k, got, want)
				}
			}
		}
		if got := e.wayFor(other, 16); got != e.static(four.Quant.Scheme) {
			t.Errorf("%s: another shape takes the choice %+v", name, got)
		}
	}
}

// has reports whether there is a kernel of a name for a scheme.
func has(e *Engine, name string, s format.Scheme) bool {
	for _, k := range e.Ints {
		if k.String() == name && k.Takes(s) {
			return true
		}
	}
	return false
}

// A forced kernel multiplies what it can on all threads; the last kernel does the rest.
func TestForce(t *testing.T) {
	e := testEngine(t, Options{Threads: 2})
	if err := e.Force("no such kernel"); err == nil || e.Forced() != "" {
		t.Errorf("an unknown kernel: %v, %q is forced", err, e.Forced())
	}
	four, eight := randomPair(t, 16, 32)
	for _, name := range e.Kernels() {
		kerneltest.Must(t, e.Force(name))
		if e.Forced() != name {
			t.Errorf("%q is forced, want %q", e.Forced(), name)
		}
		for _, w := range []*Linear{four, eight} {
			s := w.Quant.Scheme
			got := e.wayFor(w, 1)
			if k := e.Ints[got.Kernel]; !k.Takes(s) || has(e, name, s) && k.String() != name || !has(e, name, s) && got != e.static(s) {
				t.Errorf("forced %s, %s is multiplied by %s of %s", name, s, k, k.Format)
			}
			if got.Workers != 2 || got.Block != PanelBlock {
				t.Errorf("forced %s: %+v", name, got)
			}
		}
	}
	kerneltest.Must(t, e.Force(""))
	if e.Forced() != "" || e.wayFor(four, 1) != e.static(four.Quant.Scheme) {
		t.Error("a kernel is still forced")
	}
}

// wrongKernels are kernels with a fault that shows in some products alone.
func wrongKernels() map[string]Kernel {
	// spoil is the reference with a wrong result, for which if says when.
	spoil := func(when func(tokens, panels int, s format.Scheme) bool) Kernel {
		return Kernel{ISA: cpu.AVX2, Format: "w4", Run: func(dst []float32, ldd int, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1 int) {
			MulGeneric(dst, ldd, a, m0, m1, w, p0, p1)
			if when(m1-m0, p1-p0, w.Scheme) {
				at := &dst[(m1-1)*ldd+min(p1*layout.PanelRows, w.N)-1]
				*at = math.Nextafter32(*at, 1e30)
			}
		}}
	}
	return map[string]Kernel{
		"that computes nothing":   {ISA: cpu.AVX2, Format: "w4", Run: func([]float32, int, *QuantActs, int, int, *format.Packed, int, int) {}},
		"wrong in the last bit":   spoil(func(int, int, format.Scheme) bool { return true }),
		"wrong for pairs":         spoil(func(_, panels int, _ format.Scheme) bool { return panels == 2 }),
		"wrong for single panels": spoil(func(_, panels int, _ format.Scheme) bool { return panels == 1 }),
		"wrong for many tokens":   spoil(func(tokens, _ int, _ format.Scheme) bool { return tokens > 24 }),
		"wrong with zero points":  spoil(func(_, _ int, s format.Scheme) bool { return !s.Sym }),
		"wrong for groups of 32":  spoil(func(_, _ int, s format.Scheme) bool { return s.Group == 32 }),
	}
}

// A kernel that is not the reference is neither forced nor taken without being
// measured.
func TestForceRefusesWrongKernels(t *testing.T) {
	wrong := wrongKernels()
	for _, group := range []int{0, 64, 128} {
		wrong[fmt.Sprint("wrong for groups of ", group)] = Kernel{ISA: cpu.AVX2, Format: "w4", Run: func(dst []float32, ldd int, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1 int) {
			MulGeneric(dst, ldd, a, m0, m1, w, p0, p1)
			if w.Scheme.Group == group {
				dst[m0*ldd+p0*layout.PanelRows]++
			}
		}}
	}
	wrong["wrong for one token"] = Kernel{ISA: cpu.AVX2, Format: "w4", Run: func(dst []float32, ldd int, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1 int) {
		MulGeneric(dst, ldd, a, m0, m1, w, p0, p1)
		if m1-m0 == 1 {
			dst[m0*ldd+p0*layout.PanelRows]++
		}
	}}
	w, err := RandomWeights(16, 32, format.Scheme{Bits: 4, Group: 32, Sym: true})
	kerneltest.Must(t, err)
	for name, k := range wrong {
		e := testEngine(t, Options{Threads: 1})
		before := e.static(w.Quant.Scheme)
		k.Name = name
		e.Ints = append(e.Ints, Checked(k))
		err := e.Force("avx2 " + name)
		if !errors.Is(err, ErrWrong) || !strings.Contains(err.Error(), name) {
			t.Errorf("forcing a kernel %s: %v", name, err)
		}
		if e.Forced() != "" || e.wayFor(w, 1) != before {
			t.Errorf("a kernel %s is used", name)
		}
	}
	e := testEngine(t, Options{Threads: 1})
	runs := 0
	right := Kernel{Name: "right", ISA: cpu.AVX2, Format: "w4", Run: func(dst []float32, ldd int, a *QuantActs, m0, m1 int, w *format.Packed, p0, p1 int) {
		runs++
		MulGeneric(dst, ldd, a, m0, m1, w, p0, p1)
	}}
	e.Ints = append(e.Ints, Checked(right))
	kerneltest.Must(t, e.Force("avx2 right"))
	once := runs
	kerneltest.Must(t, e.Force("avx2 right"))
	if e.wayFor(w, 1).Kernel != len(e.Ints)-1 || once == 0 || runs != once {
		t.Errorf("the right kernel is not used, or was checked %d and then %d times", once, runs-once)
	}
}
