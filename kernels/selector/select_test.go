package selector

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"nibble/kernels/cpu"
	"nibble/kernels/durable/durabletest"
	"nibble/kernels/format"
	"nibble/kernels/kerneltest"
	"nibble/kernels/layout"
	"nibble/kernels/matmul"
)

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
	if (table.BandwidthGBs > 0) != (e.Tier != cpu.Generic) {
		t.Errorf("the limit of memory is %g", table.BandwidthGBs)
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
	want := &Table{CPU: cpu.This().Name, Build: e.build(), ISA: e.Tier, Threads: 1}
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
		e.Ints = append(e.Ints, matmul.Checked(k))
	}
	table, err := e.Select(context.Background(), []Shape{{"matmul", "w4 g32 asym", 80, 64, 30, 1}}, SelectOptions{Budget: time.Millisecond}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := table.Choices[0]
	if wrongKernels()[strings.TrimPrefix(c.Kernel, "avx2 ")].Run != nil {
		t.Fatalf("the wrong kernel %q won", c.Kernel)
	}
	marked := 0
	for _, m := range c.Candidates {
		if wrongKernels()[strings.TrimPrefix(m.Kernel, "avx2 ")].Run == nil {
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

// explain compares with the next candidate and names the limit that is nearer.
func TestExplain(t *testing.T) {
	table := &Table{Limits: Limits{BandwidthGBs: 20, PeakGOPS: 500}}
	m := func(ns, gops, gbs float64, ok bool) Measurement {
		return Measurement{Kernel: "k", Workers: 2, Block: matmul.PanelBlock, NS: ns, GOPS: gops, GBs: gbs, OK: ok}
	}
	for _, c := range []struct {
		ms     []Measurement
		reason string
		share  float64
	}{
		{[]Measurement{m(10, 50, 15, true)}, "k: the only candidate, 75 % of read bandwidth", 75},
		{[]Measurement{m(10, 400, 2, true), m(1, 0, 0, false)}, "k: the only correct candidate, 80 % of the integer peak", 80},
		{[]Measurement{m(10, 400, 30, true), m(15, 1, 1, true)}, "k: 1.50x the next (k), weights from the cache, 80 % of the integer peak", 80},
	} {
		if reason, share := table.explain(c.ms); reason != c.reason || math.Abs(share-c.share) > 1e-9 {
			t.Errorf("%q, %g; want %q, %g", reason, share, c.reason, c.share)
		}
	}
	if reason, share := new(Table).explain([]Measurement{m(10, 50, 15, true)}); reason != "k: the only candidate" || share != 0 {
		t.Errorf("without limits: %q, %g", reason, share)
	}
}

// Gain compares with the highest tier's largest tile, as it is taken without a
// choice, and with the slowest, among those that are right.
func TestGain(t *testing.T) {
	m := func(kernel string, isa cpu.ISA, workers, block int, ns float64) Measurement {
		return Measurement{Kernel: kernel, ISA: isa, Workers: workers, Block: block, NS: ns, OK: true}
	}
	wrong := m("avx512vnni 16x48", cpu.AVX512VNNI, 2, matmul.PanelBlock, 100)
	wrong.OK = false
	table := &Table{Choices: []Choice{
		{Candidates: []Measurement{m("avx2 8x3", cpu.AVX2, 2, matmul.PanelBlock, 1), m("avx512vnni 16x12", cpu.AVX512VNNI, 1, matmul.PanelBlock, 1.5), m("avx512vnni 16x12", cpu.AVX512VNNI, 2, 8, 1.7),
			m("avx512vnni 16x12", cpu.AVX512VNNI, 2, matmul.PanelBlock, 2), m("avx512vnni 16x4", cpu.AVX512VNNI, 2, matmul.PanelBlock, 3), m("avx2 16x48", cpu.AVX2, 2, matmul.PanelBlock, 9), wrong}},
		{Candidates: []Measurement{m("avx2 8x3", cpu.AVX2, 2, matmul.PanelBlock, 5), wrong}},
		{Candidates: []Measurement{m("avx512vnni 16x12", cpu.AVX512VNNI, 2, matmul.PanelBlock, 4), m("avx2 8x3", cpu.AVX2, 2, matmul.PanelBlock, 16)}},
	}}
	if static, worst := table.Gain(); math.Abs(static-math.Sqrt2) > 1e-9 || math.Abs(worst-6) > 1e-9 {
		t.Errorf("%g and %g, want the root of 2 and 6", static, worst)
	}
	if static, worst := new(Table).Gain(); static != 1 || worst != 1 {
		t.Errorf("without choices: %g and %g", static, worst)
	}
}

// An engine whose kernels are all wrong chooses none.
func TestSelectWithoutRightKernels(t *testing.T) {
	e := testEngine(t, Options{Threads: 1})
	e.Ints = nil
	for name, k := range wrongKernels() {
		if name == "wrong in the last bit" || name == "that computes nothing" {
			k.Name = name
			e.Ints = append(e.Ints, matmul.Checked(k))
		}
	}
	if table, err := e.Select(context.Background(), []Shape{{"matmul", "w4 g32 sym", 64, 64, 1, 1}}, SelectOptions{Budget: time.Millisecond}, nil); err == nil {
		t.Errorf("chose %+v", table.Choices)
	}
}

// A measurement is the time of one product.
func TestRaceTime(t *testing.T) {
	e := testEngine(t, Options{Threads: 1})
	calls := 0
	e.Ints = []matmul.Kernel{{Format: "w4", Run: func([]float32, int, *matmul.QuantActs, int, int, *format.Packed, int, int) {
		calls++
		time.Sleep(time.Millisecond)
	}}}
	w, err := matmul.RandomWeights(16, 32, format.Scheme{Bits: 4, Group: 32, Sym: true})
	kerneltest.Must(t, err)
	acts := e.NewActs()
	acts.Set(matmul.RandomActivations(1, 32), 1, 32)
	a, err := acts.Quantized(context.Background(), e.Products)
	kerneltest.Must(t, err)
	r := &race{selection: &selection{e: e.Selector}, a: a, ws: []*format.Packed{w.Quant}, panels: 1}
	start := time.Now()
	got := r.time(matmul.Way{Kernel: 0, Workers: 1, Block: matmul.PanelBlock}, 10*time.Millisecond)
	if all := float64(time.Since(start).Nanoseconds()); got*float64(calls) > all || got < 1e6 {
		t.Errorf("%d products in %g ns took %g each", calls, all, got)
	}
}

// A table of another machine, build or engine, or with a choice that makes no sense,
// is none.
func TestForeignTable(t *testing.T) {
	e := testEngine(t, Options{Threads: 2})
	for name, spoil := range map[string]func(t *Table, c *Choice){
		"nothing":        func(*Table, *Choice) {},
		"CPU":            func(t *Table, _ *Choice) { t.CPU += "!" },
		"build":          func(t *Table, _ *Choice) { t.Build += "!" },
		"tier":           func(t *Table, _ *Choice) { t.ISA += "!" },
		"threads":        func(t *Table, _ *Choice) { t.Threads++ },
		"format":         func(_ *Table, c *Choice) { c.Format = "w5" },
		"kernel":         func(_ *Table, c *Choice) { c.Kernel = "avx2 7x7" },
		"rows":           func(_ *Table, c *Choice) { c.N = 0 },
		"columns":        func(_ *Table, c *Choice) { c.K = -1 },
		"tokens":         func(_ *Table, c *Choice) { c.M = 0 },
		"no worker":      func(_ *Table, c *Choice) { c.Workers = 0 },
		"workers":        func(_ *Table, c *Choice) { c.Workers = 3 },
		"no block":       func(_ *Table, c *Choice) { c.Block = 0 },
		"blocks":         func(_ *Table, c *Choice) { c.Block = 4*matmul.PanelBlock + 1 },
		"a busy machine": func(_ *Table, c *Choice) { c.Busy = 2 * busyLimit },
	} {
		o := SelectOptions{CacheDir: t.TempDir()}
		table := &Table{CPU: cpu.This().Name, Build: e.build(), ISA: e.Tier, Threads: 2}
		path := table.path(o.CacheDir)
		c := Choice{Shape: Shape{"matmul", "w4 g32 sym", 64, 64, 1, 2}, Kernel: e.Kernels()[0], Workers: 2, Block: matmul.PanelBlock}
		spoil(table, &c)
		table.Choices = []Choice{c}
		kerneltest.Must(t, saveTable(table, o))
		if at := table.path(o.CacheDir); at != path {
			kerneltest.Must(t, os.Rename(at, path))
		}
		if got := len(e.loadTable(o).Choices); (got == 1) != (name == "nothing") {
			t.Errorf("another %s: %d choices are taken", name, got)
		}
	}
}

// Weights are made anew for another format or shape, and kept for another batch.
func TestSelectionWeights(t *testing.T) {
	b := selection{e: testEngine(t, Options{Threads: 1}).Selector}
	defer b.free()
	var last *matmul.Linear
	for i, s := range []Shape{{Format: "w4 g32 sym", N: 32, K: 64, M: 1}, {Format: "w4 g32 sym", N: 32, K: 64, M: 4}, {Format: "w8 g32 sym", N: 32, K: 64}, {Format: "w8 g32 sym", N: 48, K: 64}, {Format: "w8 g32 sym", N: 48, K: 96}} {
		w, err := b.weights(s)
		kerneltest.Must(t, err)
		if w.Format() != s.Format || w.N() != s.N || w.K() != s.K || (w == last) != (i == 1) || b.cold[0] != w.Quant {
			t.Errorf("%+v: %s, %d x %d", s, w.Format(), w.N(), w.K())
		}
		last = w
	}
}

// wrongKernels are kernels with a fault that shows in some products alone, each of
// which those of TestSelectExcludesWrongKernels have.
func wrongKernels() map[string]matmul.Kernel {
	// spoil is the reference with a wrong result, for which if says when.
	spoil := func(when func(tokens, panels int, s format.Scheme) bool) matmul.Kernel {
		return matmul.Kernel{ISA: cpu.AVX2, Format: "w4", Run: func(dst []float32, ldd int, a *matmul.QuantActs, m0, m1 int, w *format.Packed, p0, p1 int) {
			matmul.MulGeneric(dst, ldd, a, m0, m1, w, p0, p1)
			if when(m1-m0, p1-p0, w.Scheme) {
				at := &dst[(m1-1)*ldd+min(p1*layout.PanelRows, w.N)-1]
				*at = math.Nextafter32(*at, 1e30)
			}
		}}
	}
	return map[string]matmul.Kernel{
		"that computes nothing": {ISA: cpu.AVX2, Format: "w4", Run: func([]float32, int, *matmul.QuantActs, int, int, *format.Packed, int, int) {}},
		"wrong in the last bit": spoil(func(int, int, format.Scheme) bool { return true }),
		"wrong for pairs":       spoil(func(_, panels int, _ format.Scheme) bool { return panels == 2 }),
		"wrong for many tokens": spoil(func(tokens, _ int, _ format.Scheme) bool { return tokens > 24 }),
	}
}
