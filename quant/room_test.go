package quant

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/kernels/durable/durabletest"
)

func TestMemoryFor(t *testing.T) {
	p := Plan{PeakRSSBytes: 3e9}
	for _, x := range []struct {
		free  int64
		force bool
		want  error
		text  string
	}{
		{4e9, false, nil, ""},
		{-1, false, nil, ""},
		{2e9, false, ErrMemory, "3000 MB are needed and 2000 MB are available"},
		{2e9, true, nil, ""},
	} {
		err := memoryFor(p, x.free, x.force)
		if !errors.Is(err, x.want) || err != nil && !strings.Contains(err.Error(), x.text) {
			t.Errorf("%d bytes, force %v: %v, want %q", x.free, x.force, err, x.text)
		}
	}
	if n := addressSpace(1 << 62); n > 0 {
		t.Errorf("%d bytes are left of a full address space", n)
	}
}

func TestFreeMemory(t *testing.T) {
	const meminfo = "MemTotal:       100 kB\nMemAvailable:     50 kB\n"
	for name, x := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing known":  {nil, -1},
		"a machine":      {map[string]string{"proc/meminfo": meminfo}, 50 << 10},
		"no limit":       {map[string]string{"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "5\n"}, 50 << 10},
		"a container":    {map[string]string{"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "30000\n", "sys/fs/cgroup/memory.current": "5000\n"}, 25000},
		"an old one":     {map[string]string{"proc/meminfo": meminfo, "sys/fs/cgroup/memory/memory.limit_in_bytes": "30000\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "4000\n"}, 26000},
		"a full one":     {map[string]string{"sys/fs/cgroup/memory.max": "300\n", "sys/fs/cgroup/memory.current": "400\n"}, 0},
		"a large limit":  {map[string]string{"proc/meminfo": meminfo, "sys/fs/cgroup/memory.max": "9223372036854771712\n", "sys/fs/cgroup/memory.current": "4\n"}, 50 << 10},
		"damaged output": {map[string]string{"proc/meminfo": "MemAvailable: lots\n"}, -1},
	} {
		root := t.TempDir()
		for path, text := range x.files {
			path = filepath.Join(root, path)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		if got := freeMemory(root); got != x.want {
			t.Errorf("%s: %d, want %d", name, got, x.want)
		}
	}
}

// What was measured is recalled for the same machine, and measured again where it
// cannot be used.
func TestRatesAreKept(t *testing.T) {
	ctx, dir, eng := context.Background(), t.TempDir(), engine(t, 2)
	first, err := MeasureRates(ctx, eng, dir, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !first.valid() {
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
	if err := other.save(files[0]); err != nil {
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
	if again, err := MeasureRates(ctx, eng, dir, false, nil); err != nil || !again.valid() {
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
	want := typicalRates(3)
	path := filepath.Join(t.TempDir(), "rates.json")
	if err := want.save(path); err != nil {
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
	ck := open(t, "demo")
	r := parse(t, "w4 g32 sym gptq")
	plan := func(o PlanOptions) Plan {
		p, err := PlanFor(ck, r, o)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	slow := typicalRates(1)
	base, fast := plan(PlanOptions{Rates: slow}), plan(PlanOptions{Rates: typicalRates(4)})
	if fast.Seconds >= base.Seconds || fast.PeakRSSBytes != base.PeakRSSBytes || fast.SizeBytes != base.SizeBytes {
		t.Errorf("one thread %+v, four %+v", base, fast)
	}
	small := plan(PlanOptions{Rates: slow, Calibration: &Calibration{Samples: 4, Length: 64}})
	if small.Seconds >= base.Seconds || small.PeakRSSBytes >= base.PeakRSSBytes {
		t.Errorf("a small calibration takes %g s and %d bytes, a large one %g s and %d", small.Seconds, small.PeakRSSBytes, base.Seconds, base.PeakRSSBytes)
	}
}
