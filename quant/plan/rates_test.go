package plan

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"nibble/kernels/durable/durabletest"
	"nibble/quant/calib"
	"nibble/quant/cost"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
)

// It matters that rates are measured, not how well.
func TestMain(m *testing.M) {
	measureTimes, measureFor = 1, time.Microsecond
	os.Exit(m.Run())
}

// What was measured is recalled for the same machine, and measured again where it
// cannot be used.
func TestRatesAreKept(t *testing.T) {
	ctx, dir, eng := context.Background(), t.TempDir(), quanttest.Engine(t, 2)
	first, err := MeasureRates(ctx, eng, dir, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !valid(first) {
		t.Fatalf("%+v", first)
	}
	if again, err := MeasureRates(ctx, eng, dir, false, nil); err != nil || again != first {
		t.Errorf("%+v, %v; kept were %+v", again, err, first)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	other := first // what another build measured
	other.Program, other.RTN = "another", 1
	if err := saveRates(other, files[0]); err != nil {
		t.Fatal(err)
	}
	if again, err := MeasureRates(ctx, eng, dir, false, nil); err != nil || again.RTN == 1 || again.Program != first.Program {
		t.Errorf("after another build measured: %+v, %v", again, err)
	}
	if files, err = filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte(`{"rtn": 0}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if again, err := MeasureRates(ctx, eng, dir, false, nil); err != nil || !valid(again) {
		t.Errorf("after damage: %+v, %v", again, err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := MeasureRates(cancelled, eng, dir, true, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Rates that are damaged are measured again.
func TestDamagedRates(t *testing.T) {
	want := cost.Typical(3)
	path := filepath.Join(t.TempDir(), "rates.json")
	if err := saveRates(want, path); err != nil {
		t.Fatal(err)
	}
	if got, ok := readRates(path); !ok || got != want {
		t.Fatalf("%+v, %v", got, ok)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	durabletest.Damage(data, 60, func(how string, bad []byte) {
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, ok := readRates(path); ok && got != want {
			t.Errorf("%s: %+v", how, got)
		}
	})
}

// Two kinds of work are told apart by how much of the first a unit of the second has,
// and neither is ever found to take no time.
func TestApart(t *testing.T) {
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9*b }
	if first, second := apart([2]float64{2.0/4 + 1.0/8, 6.0/4 + 1.0/8}, [2]float64{2, 6}); !near(first, 4) || !near(second, 8) {
		t.Errorf("rates %g and %g, want 4 and 8", first, second)
	}
	for _, each := range [][2]float64{{1, 1}, {1, 2}, {2, 1}, {1, 100}} {
		if first, second := apart(each, [2]float64{2, 6}); !(first > 0 && second > 0) || math.IsInf(first, 0) || math.IsInf(second, 0) {
			t.Errorf("%v: rates %g and %g", each, first, second)
		}
	}
}

// An estimate follows the machine's rates and the size of the calibration.
func TestPlanFollowsRates(t *testing.T) {
	ck := quanttest.Open(t, "demo")
	r := passtest.Parse(t, "w4 g32 sym gptq")
	plan := func(o Options) Plan {
		p, err := For(ck, r, o)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	slow := cost.Typical(1)
	base, fast := plan(Options{Rates: slow}), plan(Options{Rates: cost.Typical(4)})
	if fast.Seconds >= base.Seconds || fast.PeakRSSBytes != base.PeakRSSBytes || fast.SizeBytes != base.SizeBytes {
		t.Errorf("one thread %+v, four %+v", base, fast)
	}
	small := plan(Options{Rates: slow, Calibration: &calib.Calibration{Samples: 4, Length: 64}})
	if small.Seconds >= base.Seconds || small.PeakRSSBytes >= base.PeakRSSBytes {
		t.Errorf("a small calibration takes %g s and %d bytes, a large one %g s and %d", small.Seconds, small.PeakRSSBytes, base.Seconds, base.PeakRSSBytes)
	}
}
