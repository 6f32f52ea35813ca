package quant

import (
	"context"
	"errors"
	"strings"
	"testing"

	"nibble/quant/calib"
	"nibble/quant/method"
	"nibble/quant/passtest"
	"nibble/quant/plan"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

// Eight bits for the tokens that text has most save what they should: a tenth of the
// rows a third, and half of them four fifths, of the loss of the embedding at least,
// by any method.
func TestTopRowsSave(t *testing.T) {
	ctx := context.Background()
	ck := quanttest.Open(t, "demo")
	base := quanttest.Load(t, 2, ck)
	embed := ck.Config.Modules()[0]
	c, err := calib.New(ck, calib.Options{Samples: 16})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{method.RTN, method.MSE, method.IMatrix, method.GPTQ} {
		s, err := NewScreen(base, ck, c)
		if err != nil {
			t.Fatal(err)
		}
		var lost []float64
		for _, top := range []int{0, 10, 50} {
			_, e, err := s.Quantize(ctx, embed, recipe.Spec{Bits: 4, Group: 32, Sym: true, Top: top, Method: method})
			if err != nil {
				t.Fatal(err)
			}
			lost = append(lost, e)
		}
		if lost[1] > 0.65*lost[0] || lost[2] > 0.2*lost[0] {
			t.Errorf("%s: loses %g, with a tenth of the rows in 8 bits %g, with half of them %g", method, lost[0], lost[1], lost[2])
		}
	}
	if _, _, err := method.One(ctx, base.Engine, ck, embed, recipe.Spec{Bits: 4, Group: 32, Sym: true, Top: 10, Method: method.RTN}); !errors.Is(err, recipe.ErrRecipe) {
		t.Errorf("without a calibration: %v", err)
	}
}

// A calibration that does not have the tokens is told of.
func TestTopNotes(t *testing.T) {
	ck := quanttest.Open(t, "demo")
	r := passtest.Parse(t, "w4; embed_tokens w4 top60%")
	if !method.Calibrated(r, ck.Config) {
		t.Error("which tokens are frequent needs a text")
	}
	c, err := calib.New(ck, calib.Options{Samples: 1, Length: 64})
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.For(ck, r, plan.Options{Calibration: c})
	if err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(p.Substitutions, "\n"); !strings.Contains(s, "of the 615 tokens that get 8 bits") || !strings.Contains(s, "model.embed_tokens") {
		t.Errorf("the plan says %q", s)
	}
}
