package eval_test

import (
	"context"
	"fmt"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
)

// A quantized model is measured against the float one, token by token.
func ExampleRun() {
	ctx := context.Background()
	eng, err := kernels.New(kernels.Options{Threads: 1})
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	ck, err := model.Open("demo")
	if err != nil {
		panic(err)
	}
	defer ck.Close()
	base, err := rt.Load(ctx, eng, ck)
	if err != nil {
		panic(err)
	}
	int4, _, err := quant.Apply(ctx, base, ck, quant.DefaultRecipe(), nil)
	if err != nil {
		panic(err)
	}
	ref, err := eval.NewReference(ctx, base, eval.Options{Text: eval.DefaultText(ck), Ctx: 128, Chunks: 4}, nil)
	if err != nil {
		panic(err)
	}
	defer ref.Close()
	res, err := eval.Run(ctx, int4, ref, eval.Options{}, nil, nil)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d tokens; it loses something: %v; the verdict on 20 %%: %s\n", res.Tokens, res.KLDMean > 0, res.Verdict(0.2).Word)
	// Output: 252 tokens; it loses something: true; the verdict on 20 %: reached
}
