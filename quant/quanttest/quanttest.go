package quanttest

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/modeltest"
	rt "nibble/runtime"
)

// Inputs makes correlated inputs of very different sizes, as models have them.
func Inputs(rng *rand.Rand, tokens, cols int) []float32 {
	x := make([]float32, tokens*cols)
	for i := range tokens {
		common := rng.NormFloat64()
		for c := range cols {
			x[i*cols+c] = float32((rng.NormFloat64() + 2*common) * math.Exp(float64(c%7)-3))
		}
	}
	return x
}

// Llama is the config of a model without weights.
func Llama(t *testing.T, c modeltest.Config) model.Config {
	t.Helper()
	c.Eps, c.Theta = 1e-5, 10000
	text, err := json.Marshal(c.JSON())
	if err != nil {
		t.Fatal(err)
	}
	config, err := model.ParseConfig(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func Load(t *testing.T, threads int, ck *model.Checkpoint) *rt.Model {
	t.Helper()
	m, err := rt.Load(context.Background(), Engine(t, threads), ck)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func Open(t *testing.T, ref string) *model.Checkpoint {
	t.Helper()
	ck, err := model.Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	return ck
}

func Engine(t testing.TB, threads int) *kernels.Engine {
	t.Helper()
	eng, err := kernels.New(kernels.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(eng.Close)
	return eng
}

// Weights with the features that trouble quantizers: outliers, zero groups,
// values below F16's range.
func Weights(rows, cols int) []float32 {
	rng := rand.New(rand.NewPCG(1, 2))
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(rng.NormFloat64()) * 0.05
		switch {
		case rng.IntN(97) == 0 && i/cols > 4:
			w[i] *= 20
		case i/cols == 2:
			w[i] = 0
		case i/cols == 3:
			w[i] *= 1e-9
		case i/cols == 4:
			w[i] = 0.25
		}
	}
	return w
}
