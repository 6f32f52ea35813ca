package quant_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
)

// What a recipe would cost and give is known before any work; Run then writes a
// Hugging Face directory.
func ExampleRun() {
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
	recipe, err := quant.ParseRecipe("w4 g32 sym rtn; lm_head w8")
	if err != nil {
		panic(err)
	}
	plan, err := quant.NewPlan(ck, recipe)
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	res, err := quant.Run(context.Background(), quant.Options{Engine: eng, Source: ck, Recipe: recipe, Out: filepath.Join(dir, "int4")}, nil)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d bytes as planned: %v; %d matrices, %.2f bits a weight\n", res.SizeBytes, res.SizeBytes == plan.SizeBytes, plan.Quantized, res.BPW)
	// Output: 831064 bytes as planned: true; 35 matrices, 5.87 bits a weight
}
