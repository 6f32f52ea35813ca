package selector

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nibble/kernels/cpu"
	"nibble/kernels/durable"
	"nibble/kernels/format"
	"nibble/kernels/matmul"
)

// build identifies the set of kernels a table was measured with.
func (e *Selector) build() string {
	names := e.Kernels()
	sum := sha256.Sum256([]byte(layoutVersion + strings.Join(names, ";")))
	return hex.EncodeToString(sum[:6])
}

// layoutVersion changes with the packed layout or the kernels' code, which makes
// older tables void.
const layoutVersion = "11"

// path is one file per CPU, kernels, tier and thread count.
func (t *Table) path(dir string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d", t.CPU, t.Build, t.ISA, t.Threads))
	return filepath.Join(dir, "kernels-"+hex.EncodeToString(sum[:8])+".json")
}

// loadTable returns the cached table if it fits this machine, else an empty one.
func (e *Selector) loadTable(o SelectOptions) *Table {
	empty := &Table{CPU: cpu.This().Name, Build: e.build(), ISA: e.Tier, Threads: e.Pool.Threads()}
	if o.CacheDir == "" || o.Refresh {
		return empty
	}
	data, err := os.ReadFile(empty.path(o.CacheDir))
	if err != nil {
		return empty
	}
	var t Table
	if data, err = durable.Unseal(data); err != nil || json.Unmarshal(data, &t) != nil || t.CPU != empty.CPU || t.Build != empty.Build || t.ISA != e.Tier || t.Threads != e.Pool.Threads() {
		return empty
	}
	names := e.Kernels()
	for _, c := range t.Choices {
		if _, err := format.Parse(c.Format); err != nil || !slices.Contains(names, c.Kernel) || c.N <= 0 || c.K <= 0 || c.M <= 0 ||
			c.Workers < 1 || c.Workers > e.Pool.Threads() || c.Block < 1 || c.Block > 4*matmul.PanelBlock {
			return empty
		}
	}
	if !o.Busy {
		t.Choices = slices.DeleteFunc(t.Choices, func(c Choice) bool { return c.Busy > busyLimit })
	}
	return &t
}

// saveTable keeps the table for other processes.
func saveTable(t *Table, o SelectOptions) error {
	if o.CacheDir == "" {
		return nil
	}
	data, err := json.Marshal(t)
	if err == nil {
		data, err = durable.SealIndent(data)
	}
	if err != nil {
		return err
	}
	return durable.WriteFile(t.path(o.CacheDir), data)
}
