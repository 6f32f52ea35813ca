package quant

import (
	"context"
	"fmt"

	"nibble/kernels"
	"nibble/model"
	rt "nibble/runtime"
)

// sequence follows a model that is being quantized from its first layer to its
// last: each matrix is shown the inputs it gets from the quantized matrices
// before it ("true sequential" in GPTQ's terms).
type sequence struct {
	base, cur *rt.Model // as it was, and with what is quantized of the current layer
	over      map[string]*kernels.Linear
	layer     int
	stack     *rt.Stack

	kind    string          // of the inputs in moments, "" for none
	moments *hessian        // of the matrices being quantized
	factors map[int]*factor // by width of a group
}

func newSequence(base *rt.Model, c *Calibration) (*sequence, error) {
	stack, err := base.NewStack(c.Tokens)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", c.Name, ErrCalibration, err)
	}
	return &sequence{base: base, cur: base, over: map[string]*kernels.Linear{}, stack: stack}, nil
}

// inputOf names the kind whose inputs a matrix shares; "" has none.
func inputOf(kind string) string {
	switch kind {
	case "q", "k", "v":
		return "q"
	case "gate", "up":
		return "gate"
	case "o", "down", "head":
		return kind
	}
	return ""
}

// factor returns the factor of the Hessian of a matrix's inputs for groups of a
// width. Matrices must come in the order of the model.
func (s *sequence) factor(ctx context.Context, m model.Module, width int) (*factor, error) {
	if err := s.reach(ctx, m); err != nil {
		return nil, err
	}
	if kind := inputOf(m.Kind); s.moments == nil || s.kind != kind {
		s.kind, s.moments, s.factors = kind, newHessian(s.base.Engine, m.Cols), map[int]*factor{}
		err := s.stack.Input(ctx, s.cur, kind, func(x []float32, rows, cols int) error { return s.moments.add(ctx, x, rows, cols) })
		if err == nil {
			err = s.moments.flush(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	if s.factors[width] == nil {
		f, err := s.moments.newFactor(ctx, width)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		s.factors[width] = f
	}
	return s.factors[width], nil
}

// reach passes the layers before a matrix.
func (s *sequence) reach(ctx context.Context, m model.Module) error {
	target := m.Layer
	if m.Kind == "head" {
		target = s.base.Config.Layers
	}
	for s.stack.Layer() < target {
		if err := s.stack.Advance(ctx, s.cur); err != nil {
			return err
		}
		s.moments = nil
	}
	if s.layer != target { // the layers passed are not needed any more
		s.layer, s.over, s.cur = target, map[string]*kernels.Linear{}, s.base
	}
	return nil
}

// put makes a quantized matrix part of the model that later ones follow.
func (s *sequence) put(ctx context.Context, m model.Module, l *kernels.Linear) error {
	if inputOf(m.Kind) == "" || m.Kind == "head" {
		return nil // the stack has embedded its texts already
	}
	if err := s.reach(ctx, m); err != nil {
		return err
	}
	s.over[m.Name] = l
	s.cur = s.base.With(s.over)
	return nil
}

// gptq quantizes a matrix of the checkpoint for its inputs.
func (s *sequence) gptq(ctx context.Context, ck *model.Checkpoint, m model.Module, spec Spec, step func(rows int)) (*kernels.QTensor, Stats, error) {
	t, err := ck.Tensor(m.Name + ".weight")
	if err != nil {
		return nil, Stats{}, err
	}
	if err := ck.CheckFinite(ctx, t.Name); err != nil {
		return nil, Stats{}, err
	}
	f, err := s.factor(ctx, m, spec.Scheme().GroupWidth(m.Cols))
	if err != nil {
		return nil, Stats{}, err
	}
	w := kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols, Data: t.Floats()}
	q, err := gptq(ctx, s.base.Engine, w, f, spec, step)
	if err != nil {
		return nil, Stats{}, err
	}
	errs := make([]rowError, m.Rows)
	s.base.Engine.For(m.Rows, func(_, lo, hi int) {
		back := make([]float32, m.Cols)
		for r := lo; r < hi; r++ {
			q.DequantRow(back, r)
			errs[r].measure(w.Row(r), back)
		}
	})
	return q, total(errs, m.Rows*m.Cols), nil
}
