package method

import (
	"context"

	"nibble/quant/grid"
	"nibble/quant/pass"
)

// RTN rounds to nearest; the largest weight of a group gives its scale.
const RTN = "rtn"

func init() {
	register(&pass.Method{
		Name: RTN, Strength: 10, Recipe: "q4-rtn", Stronger: GPTQ, Error: 1,
		Does:   "rounds to the nearest code; the largest weight of a group gives its scale",
		Cost:   pass.Cost{Plain: true},
		Matrix: rtnMatrix,
	})
}

func rtnMatrix(ctx context.Context, p *pass.Pass, m pass.PlannedModule, step func(rows int)) (pass.Quantized, error) {
	q, stats, err := p.QuantizeRows(ctx, m, grid.Search{Plain: true}, step)
	return pass.Quantized{Q: q, Stats: stats}, err
}
