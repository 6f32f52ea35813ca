package grid

import (
	"context"
	"errors"
	"testing"

	"nibble/kernels"
	"nibble/quant/quanttest"
)

// Cancelling does not wait for the end of a large matrix.
func TestCancelWithinMatrix(t *testing.T) {
	const rows, cols = 4, slabWeights
	ctx, cancel := context.WithCancel(context.Background())
	seen := 0
	zeros := make([]float32, cols)
	_, _, err := Quantize(ctx, quanttest.Engine(t, 1), rows, cols, kernels.Scheme{Bits: 4, Sym: true}, Search{Plain: true}, func([]float32, int) []float32 { return zeros }, func(n int) {
		seen += n
		cancel()
	})
	if !errors.Is(err, context.Canceled) || seen != 1 {
		t.Errorf("%v after %d rows, want context.Canceled after 1", err, seen)
	}
}
