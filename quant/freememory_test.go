package quant

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/quant/plan"
)

func TestMemoryFor(t *testing.T) {
	p := plan.Plan{PeakRSSBytes: 3e9}
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
