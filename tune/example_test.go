package tune_test

import (
	"context"
	"fmt"
	"os"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model"
	"nibble/model/demo/demotest"
	"nibble/quant"
	rt "nibble/runtime"
	"nibble/tune"
)

// The most accurate recipe of at most 8.6 bits a weight, after one trial.
func ExampleRun() {
	ctx := context.Background()
	eng, err := kernels.New(kernels.Options{Threads: 1})
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := demotest.WriteShort(dir, 1); err != nil {
		panic(err)
	}
	ck, err := model.Open(dir)
	if err != nil {
		panic(err)
	}
	defer ck.Close()
	base, err := rt.Load(ctx, eng, ck)
	if err != nil {
		panic(err)
	}
	specs, err := tune.ParseSpecs("w4 g32 sym rtn, w8 g32 sym rtn")
	if err != nil {
		panic(err)
	}
	calibration, err := quant.NewCalibration(ck, quant.CalibrationOptions{Samples: 2, Length: 64})
	if err != nil {
		panic(err)
	}
	res, err := tune.Run(ctx, tune.Options{Source: ck, Base: base, Eval: eval.Options{Text: eval.DefaultText(ck), Ctx: 64, Chunks: 2}, Calibration: calibration,
		Specs: specs, MaxBPW: 8.6, MaxTrials: 1}, nil)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d trial, within the limit: %v\n", len(res.Trials), res.Best.BPW <= 8.6)
	// Output: 1 trial, within the limit: true
}
