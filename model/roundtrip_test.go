package model

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nibble/kernels"
)

// A quantized matrix of every scheme is read back as it was written, bit for bit.
func TestQuantizedRoundTrip(t *testing.T) {
	src, err := Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	const name = "model.layers.0.mlp.down_proj"
	modules := src.Config.Modules()
	m := modules[slices.IndexFunc(modules, func(m Module) bool { return m.Name == name })]
	rng := rand.New(rand.NewPCG(1, 2))
	for _, bits := range []int{4, 8} {
		for _, group := range []int{0, 32, 64, 128} {
			for _, sym := range []bool{true, false} {
				scheme := kernels.Scheme{Bits: bits, Group: group, Sym: sym}
				q, err := kernels.NewQTensor(m.Rows, m.Cols, scheme)
				if err != nil {
					t.Fatal(err)
				}
				for r := range m.Rows {
					for c := range m.Cols {
						q.SetCode(r, c, uint8(rng.IntN(scheme.MaxCode()+1)))
					}
				}
				for i := range q.Scales {
					q.Scales[i] = kernels.F32ToF16(float32(rng.NormFloat64()))
				}
				for i := range q.Zeros {
					q.Zeros[i] = uint8(rng.IntN(scheme.MaxCode() + 1))
				}
				dir := filepath.Join(t.TempDir(), "out")
				w, err := Create(dir, src, map[string]kernels.Scheme{name: scheme})
				if err != nil {
					t.Fatal(err)
				}
				if err := w.PutQ(name, q); err != nil {
					t.Fatal(err)
				}
				if err := w.Commit(); err != nil {
					t.Fatal(err)
				}
				ck, err := Open(dir)
				if err != nil {
					t.Fatalf("%s: %v", scheme, err)
				}
				got, err := ck.Weight(m)
				if err != nil {
					t.Fatalf("%s: %v", scheme, err)
				}
				if got.Q == nil || got.Q.Scheme != scheme || !slices.Equal(got.Q.Codes, q.Codes) || !slices.Equal(got.Q.Scales, q.Scales) || !slices.Equal(got.Q.Zeros, q.Zeros) {
					t.Errorf("%s came back changed", scheme)
				}
				// What was not quantized is as it was.
				for _, other := range []string{"model.norm.weight", "model.layers.1.mlp.down_proj.weight"} {
					a, err := src.Tensor(other)
					if err != nil {
						t.Fatal(err)
					}
					if b, err := ck.Tensor(other); err != nil || !slices.Equal(a.Data, b.Data) {
						t.Errorf("%s: %s changed, %v", scheme, other, err)
					}
				}
				ck.Close()
			}
		}
	}
}

// An aborted writer leaves nothing, and nothing is written over.
func TestWriterLeavesNothing(t *testing.T) {
	src, err := Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	parent := t.TempDir()
	w, err := Create(filepath.Join(parent, "out"), src, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if left, _ := os.ReadDir(parent); len(left) != 0 {
		t.Errorf("an aborted writer left %v", left)
	}
	if err := os.MkdirAll(filepath.Join(parent, "full", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(parent, "full"), src, nil); err == nil {
		t.Error("a directory with something in it was accepted")
	}
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(file, src, nil); err == nil {
		t.Error("a file was accepted for a directory")
	}
}
