package kernels_test

import (
	"context"
	"fmt"

	"nibble/kernels"
)

// A matrix of codes is packed once, and multiplied by whatever kernel is fastest here:
// all of them compute the same bits.
func ExampleEngine_MatMul() {
	q, err := kernels.NewQTensor(2, 32, kernels.Scheme{Bits: 4, Group: 32, Sym: true})
	if err != nil {
		panic(err)
	}
	for r := range q.Rows {
		q.Scales[r] = kernels.F32ToF16(0.5)
		for c := range q.Cols {
			q.SetCode(r, c, uint8(8+r+1)) // 8 is the code of 0: rows of 0.5 and of 1
		}
	}
	w, err := kernels.NewQuantLinear(q)
	if err != nil {
		panic(err)
	}
	eng, err := kernels.New(kernels.Options{Threads: 1})
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	x := make([]float32, 32)
	for i := range x {
		x[i] = 1
	}
	acts, y := eng.NewActs(), make([]float32, 2)
	acts.Set(x, 1, 32)
	if err := eng.MatMul(context.Background(), acts, kernels.Product{W: w, Dst: y}); err != nil {
		panic(err)
	}
	fmt.Printf("%.0f\n", y)
	// Output: [16 32]
}
