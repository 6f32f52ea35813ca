package eval

import (
	"context"
	"math"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/tokenizer"
	"nibble/quant"
	rt "nibble/runtime"
)

// A text's tokens have the chances that the models give them, a model does not differ
// from itself, and the mean over the tokens is what the scores of the same text say.
func TestTrace(t *testing.T) {
	ctx := context.Background()
	eng, err := kernels.New(kernels.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(eng.Close)
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	base, err := rt.Load(ctx, eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	int4, _, err := quant.Apply(ctx, base, ck, quant.DefaultRecipe(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ids := ck.Tokenizer.Encode("Once upon a time there was a dog named Max.", tokenizer.EncodeOptions{AddSpecial: true})
	same, err := Trace(ctx, base, base, ids, 3)
	if err != nil || len(same) != len(ids)-3 {
		t.Fatalf("%d steps, %v", len(same), err)
	}
	for i, s := range same {
		if s.KLD > 1e-9 || s.Token.ID != ids[3+i] || s.Token.P != s.Token.BaseP || s.Says[0] != s.BaseSays[0] {
			t.Errorf("step %d of a model and itself: %+v", i, s)
		}
	}
	steps, err := Trace(ctx, base, int4, ids, 3)
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := int4.NewSession(0).Forward(ctx, ids)
	if err != nil {
		t.Fatal(err)
	}
	logits := make([]float32, ck.Config.Vocab)
	sum := 0.0
	for i, s := range steps {
		int4.Logits(eng.NewActs(), logits, hidden[(2+i)*ck.Config.Hidden:(3+i)*ck.Config.Hidden], 1)
		if want := math.Exp(logProb(eng, logits, ids[3+i])); math.Abs(s.Token.P-want) > 1e-6 || s.Token.BaseP != same[i].Token.BaseP {
			t.Errorf("step %d: %g and %g, want %g and %g", i, s.Token.P, s.Token.BaseP, want, same[i].Token.BaseP)
		}
		sum += s.KLD
	}
	if sum == 0 {
		t.Error("nothing is lost")
	}
	for _, from := range []int{0, len(ids) + 1} {
		if _, err := Trace(ctx, base, int4, ids, from); err == nil {
			t.Errorf("from %d on", from)
		}
	}
	if steps, err := Trace(ctx, base, int4, ids, len(ids)); err != nil || len(steps) > 0 {
		t.Errorf("nothing to compare: %v, %v", steps, err)
	}
}
