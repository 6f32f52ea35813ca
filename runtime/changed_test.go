package runtime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/demo"
	"nibble/model/source"
)

// opened is the demo in a directory, loaded to run with so many threads.
func opened(t *testing.T, threads int) (m *Model, weights string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, demo.Files); err != nil {
		t.Fatal(err)
	}
	ck, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	eng, err := kernels.New(kernels.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eng.Close(); ck.Close() })
	if m, err = Load(context.Background(), eng, ck); err != nil {
		t.Fatal(err)
	}
	return m, filepath.Join(dir, "model.safetensors")
}

// Weights that are cut while they are used are an error that names the file,
// whichever thread reads them and in assembly as well; the threads live on.
func TestWeightsCut(t *testing.T) {
	ctx := context.Background()
	for _, threads := range []int{1, 3} {
		m, weights := opened(t, threads)
		ids := make([]int32, 64)
		cut := func(string) {
			if err := os.Truncate(weights, 0); err != nil {
				t.Error(err)
			}
		}
		for _, c := range []struct {
			name string
			f    func() error
		}{
			{"answering", func() error {
				_, err := m.Generate(ctx, m.NewSession(0), ids, GenOptions{MaxTokens: 50, IgnoreEOS: true}, cut)
				return err
			}},
			{"prefill", func() error {
				_, err := m.Generate(ctx, m.NewSession(0), ids, GenOptions{MaxTokens: 1}, nil)
				return err
			}},
			{"bench", func() error {
				_, err := Bench(ctx, m, BenchOptions{Prefill: 64, Reps: 1}, nil)
				return err
			}},
			{"products", func() error {
				return m.Guard(func() error {
					acts, q := new(kernels.Acts), m.Linear("model.layers.0.self_attn.q_proj")
					acts.Set(make([]float32, 64*m.Config.Hidden), 64, m.Config.Hidden)
					return m.Engine.MatMul(ctx, acts, kernels.Product{W: q, Dst: make([]float32, 64*q.N())})
				})
			}},
		} { // the first cuts, the others find cut weights
			if err := c.f(); !errors.Is(err, source.ErrChanged) || !strings.HasPrefix(err.Error(), weights+" was truncated") {
				t.Errorf("%s on %d threads: %v", c.name, threads, err)
			}
		}
	}
}

// An answer of weights that were rewritten meanwhile is none.
func TestWeightsRewritten(t *testing.T) {
	m, weights := opened(t, 2)
	data, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	written := false
	_, err = m.Generate(context.Background(), m.NewSession(0), []int32{1}, GenOptions{MaxTokens: 20, IgnoreEOS: true}, func(string) {
		if !written {
			written = true
			if err := os.WriteFile(weights, data, 0o644); err != nil {
				t.Error(err)
			}
		}
	})
	if !written || !errors.Is(err, source.ErrChanged) {
		t.Errorf("%v", err)
	}
}
