package method

import (
	"context"

	"nibble/quant/cost"
	"nibble/quant/grid"
	"nibble/quant/pass"
)

// IMatrix weighs the search for scales by how large the inputs of each column are.
const IMatrix = "imatrix"

func init() {
	register(&pass.Method{
		Name: IMatrix, Strength: 30, Stronger: GPTQ, Error: 0.9,
		Does:   "weighs that search by how large the inputs of each column are",
		Needs:  pass.Needs{Inputs: 1},
		Fits:   fitsInputs,
		Cost:   pass.Cost{Seconds: imatrixSeconds},
		Matrix: imatrixMatrix,
	})
}

func imatrixSeconds(m cost.Matrix) float64 {
	if !m.First {
		return 0
	}
	return float64(m.Cols) * m.Tokens() / m.Rates.Values
}

// imatrixMatrix searches a matrix's scales and zero points for the least squared
// error weighed by the second moments of its inputs: what is lost of the outputs,
// were the inputs independent of each other. (llama.cpp weighs large weights higher
// on top of that, by sqrt(mean w^2 + w^2), which measured no better here.)
func imatrixMatrix(ctx context.Context, p *pass.Pass, m pass.PlannedModule, step func(rows int)) (pass.Quantized, error) {
	h, err := p.Sequence.Importance(ctx, m.Module)
	if err != nil {
		return pass.Quantized{}, err
	}
	q, stats, err := p.QuantizeRows(ctx, m, grid.Search{Weights: h}, step)
	return pass.Quantized{Q: q, Stats: stats, Silent: p.Sequence.Silent}, err
}
