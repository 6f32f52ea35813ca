package model

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model/output"
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
	schemes := []kernels.Scheme{{Bits: 4, Group: 32, Sym: true, Top: 1}, {Bits: 4, Sym: true, Top: 50}}
	for _, table := range []kernels.CodeTable{kernels.NL4, kernels.FP4} {
		schemes = append(schemes, kernels.Scheme{Bits: 4, Group: 32, Sym: true, Table: table})
	}
	for _, bits := range []int{4, 8} {
		for _, group := range []int{0, 32, 64, 128} {
			for _, sym := range []bool{true, false} {
				schemes = append(schemes, kernels.Scheme{Bits: bits, Group: group, Sym: sym})
			}
		}
	}
	for _, scheme := range schemes {
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
		for i := range q.TopRows {
			q.TopRows[i] = int32(2*i + 1)
		}
		for i := range q.TopCodes {
			q.TopCodes[i] = uint8(rng.Uint32())
		}
		dir := filepath.Join(t.TempDir(), "out")
		w, err := Create(take(t, dir), src, map[string]kernels.Scheme{name: scheme})
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
		if got.Q == nil || got.Q.Scheme != scheme || !slices.Equal(got.Q.Codes, q.Codes) || !slices.Equal(got.Q.Scales, q.Scales) || !slices.Equal(got.Q.Zeros, q.Zeros) ||
			!slices.Equal(got.Q.TopRows, q.TopRows) || !slices.Equal(got.Q.TopCodes, q.TopCodes) {
			t.Errorf("%s came back changed", scheme)
		}
		if s, ok := ck.Scheme(m); s != scheme || !ok {
			t.Errorf("%s is said to be %s", scheme, s)
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

// Rows of eight bits that are none, or not as many as there are codes for, are
// refused with the name of the tensor.
func TestTopRowsRefused(t *testing.T) {
	src, err := Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m := src.Config.Modules()[0]
	scheme := kernels.Scheme{Bits: 4, Group: 32, Sym: true, Top: 10}
	dir := filepath.Join(t.TempDir(), "out")
	w, err := Create(take(t, dir), src, map[string]kernels.Scheme{m.Name: scheme})
	if err != nil {
		t.Fatal(err)
	}
	q, err := kernels.NewQTensor(m.Rows, m.Cols, scheme)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.PutQ(m.Name, q), w.Commit()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "model.safetensors")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	of := func(h map[string]any, suffix string) map[string]any { return h[m.Name+suffix].(map[string]any) }
	for name, change := range map[string]func([]byte) []byte{
		"no such share": rewrite(func(h map[string]any) { of(h, topRows)["shape"] = []int{103, 1} }),
		"another type":  rewrite(func(h map[string]any) { of(h, topRows)["dtype"] = "F32" }),
		"no codes":      rewrite(func(h map[string]any) { h["other"] = h[m.Name+topPacked]; delete(h, m.Name+topPacked) }),
		"codes turned":  rewrite(func(h map[string]any) { of(h, topPacked)["shape"] = []int{16, 103} }),
		"rows that fall": func(b []byte) []byte {
			return bytes.Replace(b, []byte{0, 0, 0, 0, 1, 0, 0, 0, 2, 0}, []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0}, 1)
		},
		"a row too far": func(b []byte) []byte {
			return bytes.Replace(b, []byte{101, 0, 0, 0, 102, 0, 0, 0}, []byte{101, 0, 0, 0, 0, 4, 0, 0}, 1)
		},
		"a row below all": func(b []byte) []byte {
			return bytes.Replace(b, []byte{0, 0, 0, 0, 1, 0, 0, 0, 2, 0}, []byte{255, 255, 255, 255, 1, 0, 0, 0, 2, 0}, 1)
		},
	} {
		bad := change(bytes.Clone(good))
		if bytes.Equal(bad, good) {
			t.Fatalf("%s: nothing changed", name)
		}
		if err := os.WriteFile(file, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		ck, err := Open(dir)
		if err == nil {
			_, err = ck.Weight(m)
			ck.Close()
		}
		if err == nil || !strings.Contains(err.Error(), m.Name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An aborted writer leaves nothing.
func TestWriterLeavesNothing(t *testing.T) {
	src, err := Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	parent := t.TempDir()
	at := take(t, filepath.Join(parent, "out"))
	w, err := Create(at, src, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	at.Release()
	if left, _ := os.ReadDir(parent); len(left) != 0 {
		t.Errorf("an aborted writer left %v", left)
	}
}

// take claims a place for as long as the test lasts.
func take(t *testing.T, path string) *output.Claim {
	t.Helper()
	at, err := output.Take(path, output.Directory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.Release)
	return at
}
