package method

import (
	"context"

	"nibble/kernels"
	"nibble/quant/calib"
	"nibble/quant/cost"
	"nibble/quant/grid"
	"nibble/quant/pass"
)

// GPTQ quantizes column by column, and makes up for each error in the columns still
// to come.
const GPTQ = "gptq"

func init() {
	register(&pass.Method{
		Name: GPTQ, Strength: 50, Recipe: "q4-gptq", Stronger: GPTAQ, Error: 0.65,
		Does:   "quantizes column by column and makes up for each error in the columns still to come",
		Needs:  pass.Needs{Inputs: 1},
		Fits:   fitsInputs,
		Cost:   pass.Cost{Seconds: gptqSeconds, Bytes: gptqBytes},
		Matrix: gptqMatrix,
	})
}

func gptqSeconds(m cost.Matrix) float64 {
	rows, n, sum := float64(m.Rows), float64(m.Cols), 0.0
	if m.First {
		sum += (n*n*m.Tokens() + 1.2*n*n*n) / m.Rates.Float
	}
	sum += rows * n * (n + 4*grid.SampleRows) / m.Rates.Float
	return sum + rows*n*ColumnBlock/2/m.Rates.Columns
}

// gptqBytes is the moments, their factor and its inverse, products in work; then the
// matrix, once more in the order of its factor, and what is being corrected.
func gptqBytes(m cost.Matrix) int64 {
	n, rows := int64(m.Cols), int64(m.Rows)
	moments := 4 * n * (n + 2*calib.HessianTokens) * (100 + cost.Garbage) / 100
	return max(moments+8*n*n+4*n*3*256, moments+4*n*n+(m.Floats+4)*rows*n+4*n*2*512, moments+m.Session())
}

// gptqMatrix quantizes a matrix for its inputs.
func gptqMatrix(ctx context.Context, p *pass.Pass, m pass.PlannedModule, step func(rows int)) (pass.Quantized, error) {
	w, q, err := correct(ctx, p, m, step)
	if err != nil {
		return pass.Quantized{}, err
	}
	p.Raise(m, q, grid.RowsOf(w))
	stats, err := grid.MeasureOutputs(ctx, p.Engine, w, q, p.Sequence.Sample)
	return pass.Quantized{Q: q, Stats: stats, Silent: p.Sequence.Moments.Silent()}, err
}

// correct returns a matrix of the stage, and quantized for its inputs.
func correct(ctx context.Context, p *pass.Pass, m pass.PlannedModule, step func(rows int)) (kernels.Matrix, *kernels.QTensor, error) {
	f, err := p.Sequence.Factor(ctx, m.Module, m.Spec.Scheme().GroupWidth(m.Module.Cols))
	if err != nil {
		return kernels.Matrix{}, nil, err
	}
	w, err := p.Weight(ctx, m.Module)
	if err != nil {
		return w, nil, err
	}
	q, err := QuantizeColumns(ctx, p.Engine, w, f, m.Spec.Scheme(), step)
	if err == nil {
		err = p.Usable(m, q)
	}
	return w, q, err
}
