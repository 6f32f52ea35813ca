package kernels

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"nibble/kernels/durable/durabletest"
)

func testEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func TestSelect(t *testing.T) {
	e := testEngine(t, Options{Threads: 2})
	e.waited = func() time.Duration { return 0 }
	shapes := []Shape{{"matmul", "w4 g32 sym", 64, 96, 1, 2}, {"matmul", "w8 channel asym", 33, 172, 16, 2}}
	dir := t.TempDir()
	o := SelectOptions{Budget: 20 * time.Millisecond, CacheDir: dir}
	measured := 0
	count := func(ev Event) {
		if _, ok := ev.(ShapeMeasured); ok {
			measured++
		}
	}
	table, err := e.Select(context.Background(), shapes, o, count)
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Choices) != 2 || measured != 2 {
		t.Fatalf("%d choices, %d measured", len(table.Choices), measured)
	}
	for _, c := range table.Choices {
		if c.Kernel == "" || c.Reason == "" || len(c.Candidates) == 0 || !c.Candidates[0].OK {
			t.Errorf("incomplete choice %+v", c)
		}
	}
	// The second time everything comes from the cache, the third is told not to.
	if _, err := e.Select(context.Background(), shapes, o, count); err != nil || measured != 2 {
		t.Errorf("%d measured with a cache, %v", measured, err)
	}
	o.Refresh = true
	if _, err := e.Select(context.Background(), shapes, o, count); err != nil || measured != 4 {
		t.Errorf("%d measured after a refresh, %v", measured, err)
	}
	// A damaged cache is measured again and replaced.
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	if len(files) != 1 {
		t.Fatalf("cache holds %v", files)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	o.Refresh = false
	if _, err := e.Select(context.Background(), shapes, o, count); err != nil || measured != 6 {
		t.Errorf("%d measured with a damaged cache, %v", measured, err)
	}
}

// A table that is damaged is measured again: it never gives other choices.
func TestDamagedTable(t *testing.T) {
	e := testEngine(t, Options{Threads: 1})
	want := &Table{CPU: ThisCPU().Name, Build: e.build(), ISA: e.ISA(), Threads: 1}
	for _, m := range []int{1, 4} {
		want.Choices = append(want.Choices, Choice{Shape: Shape{"matmul", "w4 g32 sym", 64, 64, m, 1}, Kernel: e.Kernels()[0], Workers: 1, Block: 1, Reason: "a test"})
	}
	o := SelectOptions{CacheDir: t.TempDir()}
	if err := saveTable(want, o); err != nil {
		t.Fatal(err)
	}
	if got := e.loadTable(o); !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	data, err := os.ReadFile(want.path(o.CacheDir))
	if err != nil {
		t.Fatal(err)
	}
	durabletest.Damage(data, 60, func(how string, bad []byte) {
		if err := os.WriteFile(want.path(o.CacheDir), bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := e.loadTable(o); len(got.Choices) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", how, got)
		}
	})
}

// Measurements that cannot be kept are used and told of.
func TestUnkeptTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	e, told := testEngine(t, Options{Threads: 1}), 0
	table, err := e.Select(context.Background(), []Shape{{"matmul", "w4 g32 sym", 64, 64, 1, 1}}, SelectOptions{Budget: time.Millisecond, CacheDir: filepath.Join(file, "cache")}, func(ev Event) {
		if _, ok := ev.(Unkept); ok {
			told++
		}
	})
	if err != nil || len(table.Choices) != 1 || told != 1 {
		t.Errorf("%+v, told %d times, %v", table, told, err)
	}
}

// What is chosen while other programs take the processors serves, but not again.
func TestSelectOnBusyMachine(t *testing.T) {
	e := testEngine(t, Options{Threads: 1})
	var waited time.Duration
	e.waited = func() time.Duration { waited += time.Hour; return waited }
	o := SelectOptions{Budget: time.Millisecond, CacheDir: t.TempDir()}
	shape := Shape{"matmul", "w4 g32 sym", 64, 64, 1, 1}
	measured := 0
	for range 2 {
		table, err := e.Select(context.Background(), []Shape{shape}, o, func(ev Event) {
			if _, ok := ev.(ShapeMeasured); ok {
				measured++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if c := table.Choices[0]; c.Busy <= busyLimit || !strings.Contains(c.Reason, "other programs took") {
			t.Errorf("busy %g: %s", c.Busy, c.Reason)
		}
	}
	if measured != 2 {
		t.Errorf("measured %d times, want 2", measured)
	}
	o.Busy = true // who wants the same figures again may have them
	table, err := e.Select(context.Background(), []Shape{shape}, o, func(ev Event) {
		if _, ok := ev.(ShapeMeasured); ok {
			t.Error("measured again although the last figures are good enough")
		}
	})
	if err != nil || len(table.Choices) != 1 {
		t.Errorf("%+v, %v", table, err)
	}
	o.Busy = false
	e.waited = func() time.Duration { return 0 }
	if _, err := e.Select(context.Background(), []Shape{shape}, o, nil); err != nil {
		t.Fatal(err)
	}
	table, err = e.Select(context.Background(), []Shape{shape}, o, func(ev Event) {
		if _, ok := ev.(ShapeMeasured); ok {
			t.Error("measured again after a quiet measurement")
		}
	})
	if err != nil || len(table.Choices) != 1 {
		t.Errorf("%+v, %v", table, err)
	}
}

// A kernel that is wrong may not win, however fast it is.
func TestSelectExcludesWrongKernels(t *testing.T) {
	e := testEngine(t, Options{Threads: 1})
	for name, k := range wrongKernels() {
		k.Name = name
		e.ints = append(e.ints, checked(k))
	}
	table, err := e.Select(context.Background(), []Shape{{"matmul", "w4 g32 asym", 80, 64, 30, 1}}, SelectOptions{Budget: time.Millisecond}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := table.Choices[0]
	if wrongKernels()[strings.TrimPrefix(c.Kernel, "avx2 ")].run != nil {
		t.Fatalf("the wrong kernel %q won", c.Kernel)
	}
	marked := 0
	for _, m := range c.Candidates {
		if wrongKernels()[strings.TrimPrefix(m.Kernel, "avx2 ")].run == nil {
			continue
		}
		marked++
		if m.OK || m.Note == "" {
			t.Errorf("the wrong kernel is not marked: %+v", m)
		}
	}
	if want := len(wrongKernels()); marked != want {
		t.Errorf("%d of %d wrong kernels were measured", marked, want)
	}
}

// wrongKernels are kernels with a fault that shows in some products alone, each of
// which those of TestSelectExcludesWrongKernels have.
func wrongKernels() map[string]intKernel {
	// spoil is the reference with a wrong result, for which if says when.
	spoil := func(when func(tokens, panels int, s Scheme) bool) intKernel {
		return intKernel{ISA: AVX2, Bits: 4, run: func(dst []float32, ldd int, a *quantActs, m0, m1 int, w *packed, p0, p1 int) {
			mulGeneric(dst, ldd, a, m0, m1, w, p0, p1)
			if when(m1-m0, p1-p0, w.scheme) {
				at := &dst[(m1-1)*ldd+min(p1*panelRows, w.n)-1]
				*at = math.Nextafter32(*at, 1e30)
			}
		}}
	}
	return map[string]intKernel{
		"that computes nothing":   {ISA: AVX2, Bits: 4, run: func([]float32, int, *quantActs, int, int, *packed, int, int) {}},
		"wrong in the last bit":   spoil(func(int, int, Scheme) bool { return true }),
		"wrong for pairs":         spoil(func(_, panels int, _ Scheme) bool { return panels == 2 }),
		"wrong for single panels": spoil(func(_, panels int, _ Scheme) bool { return panels == 1 }),
		"wrong for many tokens":   spoil(func(tokens, _ int, _ Scheme) bool { return tokens > 24 }),
		"wrong with zero points":  spoil(func(_, _ int, s Scheme) bool { return !s.Sym }),
		"wrong for groups of 32":  spoil(func(_, _ int, s Scheme) bool { return s.Group == 32 }),
	}
}

// A kernel that is not the reference is neither forced nor taken without being
// measured.
func TestForceRefusesWrongKernels(t *testing.T) {
	wrong := wrongKernels()
	for _, group := range []int{0, 64, 128} {
		wrong[fmt.Sprint("wrong for groups of ", group)] = intKernel{ISA: AVX2, Bits: 4, run: func(dst []float32, ldd int, a *quantActs, m0, m1 int, w *packed, p0, p1 int) {
			mulGeneric(dst, ldd, a, m0, m1, w, p0, p1)
			if w.scheme.Group == group {
				dst[m0*ldd+p0*panelRows]++
			}
		}}
	}
	wrong["wrong for one token"] = intKernel{ISA: AVX2, Bits: 4, run: func(dst []float32, ldd int, a *quantActs, m0, m1 int, w *packed, p0, p1 int) {
		mulGeneric(dst, ldd, a, m0, m1, w, p0, p1)
		if m1-m0 == 1 {
			dst[m0*ldd+p0*panelRows]++
		}
	}}
	w, err := randomWeights(16, 32, Scheme{Bits: 4, Group: 32, Sym: true})
	must(t, err)
	for name, k := range wrong {
		e := testEngine(t, Options{Threads: 1})
		before := e.static(4)
		k.Name = name
		e.ints = append(e.ints, checked(k))
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
	right := intKernel{Name: "right", ISA: AVX2, Bits: 4, run: func(dst []float32, ldd int, a *quantActs, m0, m1 int, w *packed, p0, p1 int) {
		runs++
		mulGeneric(dst, ldd, a, m0, m1, w, p0, p1)
	}}
	e.ints = append(e.ints, checked(right))
	must(t, e.Force("avx2 right"))
	once := runs
	must(t, e.Force("avx2 right"))
	if e.wayFor(w, 1).kernel != len(e.ints)-1 || once == 0 || runs != once {
		t.Errorf("the right kernel is not used, or was checked %d and then %d times", once, runs-once)
	}
}
