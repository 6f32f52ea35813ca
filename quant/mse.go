package quant

import "context"

// MSE rounds to nearest; the scale, and the zero point, of a group are searched for
// the least squared error.
const MSE = "mse"

func init() {
	register(&Method{
		Name: MSE, Strength: 20, Stronger: GPTQ, Error: 0.9,
		Does:   "searches the scale, and the zero point, for the least squared error",
		Matrix: mseMatrix,
	})
}

func mseMatrix(ctx context.Context, p *pass, m PlannedModule, step func(rows int)) (Quantized, error) {
	q, stats, err := p.quantizeRows(ctx, m, Search{}, step)
	return Quantized{Q: q, Stats: stats}, err
}
