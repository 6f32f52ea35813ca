package method

import (
	"context"
	"fmt"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/grid"
	"nibble/quant/pass"
	"nibble/quant/recipe"
)

// One quantizes a single matrix of a checkpoint.
func One(ctx context.Context, eng *kernels.Engine, ck *model.Checkpoint, m model.Module, s recipe.Spec) (*kernels.QTensor, grid.Stats, error) {
	how, err := uncalibrated(s)
	if err != nil {
		return nil, grid.Stats{}, err
	}
	row, err := pass.StoredRows(ck, m)
	if err != nil {
		return nil, grid.Stats{}, err
	}
	q, stats, err := grid.Quantize(ctx, eng, m.Rows, m.Cols, s.Scheme(), how, row, nil)
	return q, stats, pass.TensorError(ck, m, err)
}

// uncalibrated returns how a spec quantizes a matrix of which nothing but the
// weights is known; it refuses those that need more.
func uncalibrated(s recipe.Spec) (grid.Search, error) {
	if err := CheckStores(s); err != nil {
		return grid.Search{}, err
	}
	how := Named(s.Method)
	if how.Needs.Inputs > 0 || s.Top > 0 {
		return grid.Search{}, fmt.Errorf("%w: %s needs a calibration, which only quantizing the whole model has", recipe.ErrRecipe, s)
	}
	return grid.Search{Plain: how.Cost.Plain}, nil
}

// CheckStores refuses a spec that stores nothing.
func CheckStores(s recipe.Spec) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if s.Kept() {
		return fmt.Errorf("%w: %s quantizes nothing", recipe.ErrRecipe, s)
	}
	return nil
}
