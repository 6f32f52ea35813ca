package quant

import (
	"context"
	"errors"
	"math"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/calib"
	"nibble/quant/method"
	"nibble/quant/recipe"
	rt "nibble/runtime"
)

func TestScreen(t *testing.T) {
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	eng, err := kernels.New(kernels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eng.Close(); ck.Close() })
	base, err := rt.Load(context.Background(), eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	c, err := calib.New(ck, calib.Options{Samples: 4, Length: 128})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewScreen(base, ck, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range ck.Config.Modules() {
		lost := map[recipe.Spec]float64{}
		for _, spec := range []recipe.Spec{{Bits: 4, Group: 32, Sym: true, Method: method.RTN}, {Bits: 4, Group: 128, Sym: true, Method: method.RTN}, {Bits: 8, Group: 32, Sym: true, Method: method.RTN}, {Bits: 4, Group: 32, Sym: true, Method: method.GPTQ}} {
			q, e, err := s.Quantize(context.Background(), m, spec)
			if err != nil {
				t.Fatal(err)
			}
			if q.Scheme != spec.Scheme() || !(e > 0 && e < 0.1) {
				t.Errorf("%s %s: %s, error %g", m.Name, spec, q.Scheme, e)
			}
			lost[spec] = e
		}
		if a, b := lost[recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: method.RTN}], lost[recipe.Spec{Bits: 4, Group: 128, Sym: true, Method: method.RTN}]; a >= b {
			t.Errorf("%s: groups of 32 lose %g, of 128 %g", m.Name, a, b)
		}
		if a, b := lost[recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: method.RTN}], lost[recipe.Spec{Bits: 8, Group: 32, Sym: true, Method: method.RTN}]; math.Abs(math.Log(a/b/287)) > 0.3 {
			t.Errorf("%s: 4 bits lose %g, 8 bits %g", m.Name, a, b)
		}
		if a, b := lost[recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: method.GPTQ}], lost[recipe.Spec{Bits: 4, Group: 32, Sym: true, Method: method.RTN}]; a >= b {
			t.Errorf("%s: gptq loses %g, rtn %g", m.Name, a, b)
		}
	}
	if _, _, err := s.Quantize(context.Background(), ck.Config.Modules()[1], recipe.Spec{Bits: 5, Group: 32, Sym: true, Method: method.RTN}); !errors.Is(err, recipe.ErrRecipe) {
		t.Errorf("5 bits: %v, want ErrRecipe", err)
	}
}
