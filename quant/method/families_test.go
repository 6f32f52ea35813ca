package method

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/quant/calib"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

// The gradient of a whole model is its slope whatever surrounds the blocks: positions
// and norms of embeddings, inputs of layers, keys that layers share, heads with biases,
// scales, caps and rows of length 1.
func TestDivergenceGradientOfFamilies(t *testing.T) {
	const fixtures = "../../shared/data/arch"
	if _, err := os.Stat(fixtures); err != nil {
		t.Skip("no fixtures in " + fixtures)
	}
	ctx := context.Background()
	for _, name := range []string{"gemma4", "gemma2", "cohere2", "phi2", "opt", "bloom", "granite", "llama2 with unit rows"} {
		t.Run(name, func(t *testing.T) {
			dir, _, units := strings.Cut(name, " ")
			ck := quanttest.Open(t, filepath.Join(fixtures, dir))
			ck.Config.Head.Normalize = units
			base := quanttest.Load(t, 2, ck)
			cal, err := calib.New(ck, calib.Options{Samples: 2, Length: 20})
			if err != nil {
				t.Fatal(err)
			}
			spec := recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: AutoRoundBest}
			done := newWholeSink(passtest.NewHeldSink(), ck.Config.Layers())
			for _, m := range ck.Config.Modules() {
				if calib.InputOf(m) == "" {
					continue
				}
				q, _, err := One(ctx, base.Engine, ck, m, recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: RTN})
				if err != nil {
					t.Fatal(err)
				}
				if err := done.PutQ(m, q, pass.ModuleReport{}); err != nil {
					t.Fatal(err)
				}
				done.trained = append(done.trained, pass.PlannedModule{Module: m, Spec: spec})
			}
			if err := done.EndStage(0, nil); err != nil {
				t.Fatal(err)
			}
			p, err := pass.New(ck, nil, base, cal, base.Engine, done, nil)
			if err != nil {
				t.Fatal(err)
			}
			tr, rs, err := newWholeTrainee(ctx, p, done)
			if err != nil {
				t.Fatal(err)
			}
			samples, tokens := []int{0, 1}, 40.0
			loss := func(gradient bool) float64 {
				v, err := tr.Loss(ctx, samples, gradient)
				if err != nil {
					t.Fatal(err)
				}
				return v * tokens
			}
			loss(true)
			for i, r := range rs {
				square := 0.0
				for _, g := range r.Grad.Data {
					square += float64(g) * float64(g)
				}
				if square == 0 {
					t.Errorf("%s has no gradient", done.trained[i].Module.Name)
					continue
				}
				slope := func(length float64) float64 {
					step := length / math.Sqrt(square)
					move := func(by float64) float64 {
						for j, g := range r.Grad.Data {
							r.Value.Data[j] += float32(by * float64(g))
						}
						return loss(false)
					}
					up := move(step)
					down := move(-2 * step)
					move(step)
					return (up - down) / (2 * step)
				}
				// Long steps meet bends, short ones drown in rounding: one of them is right.
				least := math.Inf(1)
				for _, length := range []float64{0.003, 0.0003, 0.03, 0.00003} {
					if least > 0.03 {
						least = min(least, math.Abs(slope(length)/square-1))
					}
				}
				if least > 0.03 {
					t.Errorf("%s: off by %.1f %%", done.trained[i].Module.Name, 100*least)
				}
			}
		})
	}
}
