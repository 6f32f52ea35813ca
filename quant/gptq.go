package quant

import (
	"context"

	"nibble/kernels"
)

// GPTQ quantizes column by column, and makes up for each error in the columns still
// to come.
const GPTQ = "gptq"

func init() {
	register(&Method{
		Name: GPTQ, Strength: 50, Recipe: "q4-gptq", Stronger: AutoRound, Error: 0.65,
		Does:   "quantizes column by column and makes up for each error in the columns still to come",
		Needs:  Needs{Inputs: 1},
		Fits:   fitsInputs,
		Cost:   Cost{Seconds: gptqSeconds, Bytes: gptqBytes},
		Matrix: gptqMatrix,
	})
}

func gptqSeconds(m MatrixCost) float64 {
	rows, n, sum := float64(m.Rows), float64(m.Cols), 0.0
	if m.First {
		sum += (n*n*m.Tokens() + 1.2*n*n*n) / m.Rates.Float
	}
	sum += rows * n * (n + 4*sampleRows) / m.Rates.Float
	return sum + rows*n*gptqBlock/2/m.Rates.Columns
}

// gptqBytes is the moments, their factor and its inverse, products in work; then the
// matrix, once more in the order of its factor, and what is being corrected.
func gptqBytes(m MatrixCost) int64 {
	n, rows := int64(m.Cols), int64(m.Rows)
	moments := 4 * n * (n + 2*hessianTokens) * (100 + garbage) / 100
	return max(moments+8*n*n+4*n*3*256, moments+4*n*n+(m.Floats+4)*rows*n+4*n*2*512, moments+m.Session())
}

// gptqMatrix quantizes a matrix for its inputs.
func gptqMatrix(ctx context.Context, p *pass, m PlannedModule, step func(rows int)) (Quantized, error) {
	w, q, err := p.gptq(ctx, m, step)
	if err != nil {
		return Quantized{}, err
	}
	p.raise(m, q, rowsOf(w))
	stats, err := measureOn(ctx, p.eng, w, q, p.seq.sample)
	return Quantized{q, stats, p.seq.moments.silent()}, err
}

// gptq returns a matrix of this stage, and quantized for its inputs.
func (p *pass) gptq(ctx context.Context, m PlannedModule, step func(rows int)) (kernels.Matrix, *kernels.QTensor, error) {
	f, err := p.seq.factor(ctx, m.Module, m.Spec.Scheme().GroupWidth(m.Module.Cols))
	if err != nil {
		return kernels.Matrix{}, nil, err
	}
	w, err := p.weight(ctx, m.Module)
	if err != nil {
		return w, nil, err
	}
	q, err := gptq(ctx, p.eng, w, f, m.Spec.Scheme(), step)
	if err == nil {
		err = p.usable(m, q)
	}
	return w, q, err
}
