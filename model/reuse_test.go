package model

import (
	"os"
	"path/filepath"
	"testing"

	"nibble/kernels"
	"nibble/kernels/durable/durabletest"
)

// What an earlier writer left is taken over only if every byte of it is as it was.
func TestReuse(t *testing.T) {
	src, err := Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m := src.Config.Modules()[1]
	scheme := kernels.Scheme{Bits: 4, Group: 32, Sym: false}
	at := take(t, filepath.Join(t.TempDir(), "out"))
	create := func() *Writer {
		t.Helper()
		w, err := Create(at, src, map[string]kernels.Scheme{m.Name: scheme})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := create()
	q, err := kernels.NewQTensor(m.Rows, m.Cols, scheme)
	if err != nil {
		t.Fatal(err)
	}
	for i := range q.Codes {
		q.Codes[i] = byte(i * 7)
	}
	if err := w.PutQ(m.Name, q); err != nil {
		t.Fatal(err)
	}
	sums := w.Sums(m.Name)
	w.Keep()
	path := filepath.Join(at.Work(), outputName, "model.safetensors")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	part := w.Layout.entries[m.Name+".weight_packed"]
	from := int64(len(w.Layout.Header)) + part.offset
	durabletest.Damage(data[from:from+part.size], 20, func(how string, bad []byte) {
		same := string(bad) == string(data[from:from+part.size])
		whole := append(append(append([]byte{}, data[:from]...), bad...), data[from+part.size:]...)
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
		w := create()
		defer w.Keep()
		if w.Reuse(m.Name, sums) && !same {
			t.Errorf("%s: it is taken over", how)
		}
	})
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	w = create()
	defer w.Abort()
	if !w.Reuse(m.Name, sums) {
		t.Error("what is as it was is not taken over")
	}
	if w.Reuse(m.Name, nil) || w.Reuse("no.such", sums) {
		t.Error("what nobody knows of is taken over")
	}
}
