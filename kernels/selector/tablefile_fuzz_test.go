package selector

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/durable"
	"nibble/kernels/format"
)

// Every choice that is recalled can be run: its kernel and its numbers are such as
// this machine has.
func FuzzTable(f *testing.F) {
	e := testEngine(f, Options{Threads: 2})
	name := e.Kernels()[0]
	f.Add([]byte(fmt.Sprintf(`[{"op":"matmul","format":"w4 g32 sym","n":64,"k":96,"m":1,"threads":2,"kernel":%q,"workers":2,"block":8}]`, name)))
	f.Add([]byte(fmt.Sprintf(`[{"format":"w4 g32 sym","n":-1,"k":1,"m":1,"kernel":%q,"workers":2,"block":8}]`, name)))
	f.Add([]byte(`[{"kernel":"none"}]`))
	f.Add([]byte(`null`))
	o := SelectOptions{CacheDir: f.TempDir()}
	mine := &Table{CPU: cpu.This().Name, Build: e.build(), ISA: e.Tier, Threads: e.Threads()}
	f.Fuzz(func(t *testing.T, choices []byte) {
		file := fmt.Appendf(nil, `{"cpu":%q,"build":%q,"isa":%q,"threads":%d,"choices":%s}`, mine.CPU, mine.Build, mine.ISA, mine.Threads, choices)
		if sealed, err := durable.SealIndent(file); err == nil {
			file = sealed
		}
		if err := os.WriteFile(mine.path(o.CacheDir), file, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, c := range e.loadTable(o).Choices {
			_, err := format.Parse(c.Format)
			if err != nil || !slices.Contains(e.Kernels(), c.Kernel) || c.N < 1 || c.K < 1 || c.M < 1 || c.Workers < 1 || c.Workers > e.Threads() || c.Block < 1 || c.Busy > busyLimit {
				t.Errorf("%+v is used", c)
			}
		}
	})
}
