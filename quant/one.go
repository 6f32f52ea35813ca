package quant

import (
	"context"
	"fmt"

	"nibble/kernels"
	"nibble/model"
)

// Quantize stores w, rows x cols row-major, by spec, which may not be Keep and whose
// method may not need a calibration.
func Quantize(eng *kernels.Engine, w []float32, rows, cols int, spec Spec) (*kernels.QTensor, Stats, error) {
	how, err := uncalibrated(spec)
	if err != nil {
		return nil, Stats{}, err
	}
	return quantize(context.Background(), eng, rows, cols, spec.Scheme(), how, func(_ []float32, r int) []float32 { return w[r*cols : (r+1)*cols] }, nil)
}

// One quantizes a single matrix of a checkpoint.
func One(ctx context.Context, eng *kernels.Engine, ck *model.Checkpoint, m model.Module, s Spec) (*kernels.QTensor, Stats, error) {
	how, err := uncalibrated(s)
	if err != nil {
		return nil, Stats{}, err
	}
	row, err := storedRows(ck, m)
	if err != nil {
		return nil, Stats{}, err
	}
	q, stats, err := quantize(ctx, eng, m.Rows, m.Cols, s.Scheme(), how, row, nil)
	return q, stats, tensorError(ck, m, err)
}

// uncalibrated returns how a spec quantizes a matrix of which nothing but the
// weights is known; it refuses those that need more.
func uncalibrated(s Spec) (Search, error) {
	if err := checkStores(s); err != nil {
		return Search{}, err
	}
	how := registered[s.Method]
	if how.Needs.Inputs > 0 || s.Top > 0 {
		return Search{}, fmt.Errorf("%w: %s needs a calibration, which only quantizing the whole model has", ErrRecipe, s)
	}
	return Search{Plain: how.Cost.Plain}, nil
}

// checkStores refuses a spec that stores nothing.
func checkStores(s Spec) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if s.Kept() {
		return fmt.Errorf("%w: %s quantizes nothing", ErrRecipe, s)
	}
	return nil
}
