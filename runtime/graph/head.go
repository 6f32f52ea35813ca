package graph

import (
	"context"
	"math"

	"nibble/kernels"
	"nibble/model/arch"
)

// Head turns normalized states into logits.
type Head struct {
	*Linear
	project *Linear   // of what the matrix reads, from the width of the stream; nil for none
	Units   []float32 // what brings the rows of the matrix to length 1; nil where that is not done

	scale, softCap float32
	width          int // of the stream
}

func (c *compiler) head(d *arch.Head) Head {
	h := Head{Linear: c.linear(&d.Linear), project: c.linear(d.Project), Units: c.parts.Units, scale: d.Scale, softCap: d.SoftCap, width: c.g.hidden}
	if c.err != nil {
		return h
	}
	if h.bias == nil {
		h.bias = c.vector(d.Bias)
	}
	if d.Normalize && h.Units == nil {
		h.Units = make([]float32, h.outputs())
		h.SetUnits(c.g.eng)
	}
	return h
}

// SetUnits computes the units of the matrix as it is now, if there are any.
func (h *Head) SetUnits(e *kernels.Engine) {
	e.For(len(h.Units), func(_, lo, hi int) {
		var row []float32
		if h.Packed != nil {
			row = make([]float32, h.Packed.K())
		} else {
			row = make([]float32, h.Value.Cols)
		}
		for r := lo; r < hi; r++ {
			h.row(row, r)
			squares := 0.0
			for _, v := range row {
				squares += float64(v) * float64(v)
			}
			h.Units[r] = float32(1 / max(math.Sqrt(squares), 1e-7))
		}
	})
}

// Enter returns what the matrix reads for normalized states: the states themselves, or
// what a projection makes of them.
func (h *Head) Enter(ctx context.Context, e *kernels.Engine, states kernels.Matrix) (kernels.Matrix, error) {
	if h.project == nil {
		return states, nil
	}
	x := kernels.NewMatrix(states.Rows, h.project.outputs())
	if h.project.Packed == nil {
		return x, e.MulTransposed(ctx, x, states, h.project.Value)
	}
	acts := e.NewActs()
	acts.Set(states.Data, states.Rows, states.Cols)
	return x, e.MatMul(ctx, acts, kernels.Product{W: h.project.Packed, Dst: x.Data})
}

// EnterGradient returns the gradient of states for that of what Enter gave, floats.
func (h *Head) EnterGradient(ctx context.Context, e *kernels.Engine, d kernels.Matrix) (kernels.Matrix, error) {
	if h.project == nil {
		return d, nil
	}
	w := h.project.Value
	dstates, turned := kernels.NewMatrix(d.Rows, w.Cols), kernels.NewMatrix(w.Cols, w.Rows)
	e.Transpose(turned, w)
	return dstates, e.MulTransposed(ctx, dstates, d, turned)
}

// Logits stores those of n normalized states in dst, n x vocabulary. Several goroutines
// may call it, each with a buffer of its own.
func (h *Head) Logits(e *kernels.Engine, acts *kernels.Acts, dst, states []float32, n int) {
	v, k := h.outputs(), h.width
	ctx := context.Background() // without an end to which products have no error
	x, _ := h.Enter(ctx, e, kernels.Matrix{Rows: n, Cols: k, Stride: k, Data: states})
	acts.Set(x.Data, n, x.Cols)
	_ = e.MatMul(ctx, acts, kernels.Product{W: h.Packed, Dst: dst[:n*v]})
	for r := range n {
		h.Finish(dst[r*v:(r+1)*v], nil)
	}
}

// Finish applies to a row of products with the matrix what makes them logits, and stores
// the slopes of the cap where slopes is not nil.
func (h *Head) Finish(logits, slopes []float32) {
	if h.scale == 1 && h.softCap == 0 && h.bias == nil && h.Units == nil {
		return
	}
	for i, v := range logits {
		if h.Units != nil {
			v *= h.Units[i]
		}
		if h.bias != nil {
			v += h.bias[i]
		}
		v *= h.scale
		if h.softCap != 0 {
			part := math.Tanh(float64(v / h.softCap))
			v = h.softCap * float32(part)
			if slopes != nil {
				slopes[i] = float32(1 - part*part)
			}
		}
		logits[i] = v
	}
}

// Capped reports whether logits have a cap, whose slopes Unfinish needs.
func (h *Head) Capped() bool { return h.softCap != 0 }

// Unfinish takes the gradient of logits to that of the products.
func (h *Head) Unfinish(d, slopes []float32) {
	for i, slope := range slopes {
		d[i] *= slope
	}
	scaleRow(d, h.scale)
	for i, unit := range h.Units {
		d[i] *= unit
	}
}
