package quant

import "context"

// RTN rounds to nearest; the largest weight of a group gives its scale.
const RTN = "rtn"

func init() {
	register(&Method{
		Name: RTN, Strength: 10, Recipe: "q4-rtn", Stronger: GPTQ, Error: 1,
		Does:   "rounds to the nearest code; the largest weight of a group gives its scale",
		Cost:   Cost{Plain: true},
		Matrix: rtnMatrix,
	})
}

func rtnMatrix(ctx context.Context, p *pass, m PlannedModule, step func(rows int)) (Quantized, error) {
	q, stats, err := p.quantizeRows(ctx, m, Search{Plain: true}, step)
	return Quantized{Q: q, Stats: stats}, err
}
