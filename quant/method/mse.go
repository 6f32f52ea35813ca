package method

import (
	"context"

	"nibble/quant/grid"
	"nibble/quant/pass"
)

// MSE rounds to nearest; the scale, and the zero point, of a group are searched for
// the least squared error.
const MSE = "mse"

func init() {
	register(&pass.Method{
		Name: MSE, Strength: 20, Stronger: GPTQ, Error: 0.9,
		Does:   "searches the scale, and the zero point, for the least squared error",
		Matrix: mseMatrix,
	})
}

func mseMatrix(ctx context.Context, p *pass.Pass, m pass.PlannedModule, step func(rows int)) (pass.Quantized, error) {
	q, stats, err := p.QuantizeRows(ctx, m, grid.Search{}, step)
	return pass.Quantized{Q: q, Stats: stats}, err
}
