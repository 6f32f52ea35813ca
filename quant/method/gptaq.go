package method

import (
	"context"

	"nibble/kernels"
	"nibble/quant/cost"
	"nibble/quant/grid"
	"nibble/quant/pass"
)

// GPTAQ is GPTQ that also makes up for what the layers before a matrix brought its inputs
// (Li et al., "GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric Calibration",
// 2025, arXiv 2504.02692): the outputs wanted are those that the float weights give for
// the float model's inputs, and not for the inputs that there are.
const GPTAQ = "gptaq"

// gptaqStrength is how much of the way to those outputs weights go: a part of what drifts
// is the calibration's alone. From 0.25 over 0.5 and 0.75 to 1, nl4 has a KL divergence of
// 0.00477, 0.00434, 0.00430 and 0.00420 on the demo and of 0.0728, 0.0668, 0.0629 and
// 0.0633 on stories260K; on SmolLM2-135M 0.5 has 0.0671 and 0.75 has 0.0661.
const gptaqStrength = 0.75

func init() {
	register(&pass.Method{
		Name: GPTAQ, Strength: 55, Stronger: AutoRound, StandIn: GPTQ, Error: 0.6,
		Does:   "is " + GPTQ + " that also makes up for what earlier layers lost",
		Needs:  pass.Needs{Inputs: 2, Floats: true},
		Fits:   fitsInputs,
		Cost:   pass.Cost{Seconds: gptaqSeconds, Bytes: gptaqBytes},
		Matrix: gptaqMatrix,
	})
}

func gptaqSeconds(m cost.Matrix) float64 {
	rows, n := float64(m.Rows), float64(m.Cols)
	sum := gptqSeconds(m) + 2*rows*n*n/m.Rates.Float
	if m.First {
		sum += (2*n*n*m.Tokens() + 4*n*n*n) / m.Rates.Float
	}
	return sum
}

// gptaqBytes is what GPTQ takes, and the other moments, with what they are made of.
func gptaqBytes(m cost.Matrix) int64 {
	n := int64(m.Cols)
	return gptqBytes(m) + 4*n*3*n + 4*int64(m.Rows)*n
}

func gptaqMatrix(ctx context.Context, p *pass.Pass, m pass.PlannedModule, step func(rows int)) (pass.Quantized, error) {
	f, err := p.Sequence.Factor(ctx, m.Module, m.Spec.Scheme().GroupWidth(m.Module.Cols))
	if err != nil {
		return pass.Quantized{}, err
	}
	drift, err := p.Sequence.Drift(ctx, m.Module, f)
	if err != nil {
		return pass.Quantized{}, err
	}
	w, err := p.Weight(ctx, m.Module)
	if err != nil {
		return pass.Quantized{}, err
	}
	wanted := w
	if drift.Data != nil {
		wanted = kernels.NewMatrix(w.Rows, w.Cols)
		if err := p.Engine.MulTransposed(ctx, wanted, w, drift); err != nil {
			return pass.Quantized{}, err
		}
		p.Engine.For(w.Rows, func(_, lo, hi int) {
			for r := lo; r < hi; r++ {
				row := wanted.Row(r)
				for c, v := range w.Row(r) {
					row[c] = v + gptaqStrength*row[c]
				}
			}
		})
	}
	q, err := QuantizeColumns(ctx, p.Engine, wanted, f, m.Spec.Scheme(), step)
	if err == nil {
		err = p.Usable(m, q)
	}
	if err != nil {
		return pass.Quantized{}, err
	}
	p.Raise(m, q, grid.RowsOf(wanted))
	stats, err := grid.MeasureOutputs(ctx, p.Engine, w, q, p.Sequence.Sample)
	return pass.Quantized{Q: q, Stats: stats, Silent: p.Sequence.Moments.Silent()}, err
}
