package quant

import (
	"context"
	"fmt"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	rt "nibble/runtime"
)

// sequence follows a model that is being quantized from its first layer to its
// last: each matrix is shown the inputs it gets from the quantized matrices
// before it ("true sequential" in GPTQ's terms).
type sequence struct {
	ck        *model.Checkpoint
	base, cur *rt.Model // as it was, and with what is done of the current layer
	over      map[string]*kernels.Linear
	vectors   map[string][]float32
	stack     *rt.Stack // before the current layer of the quantized model
	floats    *rt.Stack // of the float model; nil until outputs is called

	kind    string          // of the inputs in moments
	moments *hessian        // of the matrices being quantized, nil for none
	factors map[int]*factor // by width of a group
	sample  kernels.Matrix  // some of the inputs

	weighed string    // kind of the inputs in weights
	weights []float32 // importance of the inputs of the matrices being quantized
	silent  int       // how many of them are 0 for all tokens
}

func newSequence(ck *model.Checkpoint, base *rt.Model, c *Calibration) (*sequence, error) {
	stack, err := base.NewStack(c.Tokens)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", c.Name, ErrCalibration, err)
	}
	s := &sequence{ck: ck, base: base, stack: stack}
	s.reset()
	return s, nil
}

// reset forgets what is done of a layer: the stack is past it.
func (s *sequence) reset() {
	s.over, s.vectors, s.cur, s.moments, s.weights = map[string]*kernels.Linear{}, map[string][]float32{}, s.base, nil, nil
}

// inputOf names what a matrix reads, which others may share; "" is nothing that can
// be measured. An embedding that is the output head as well reads what the head
// does.
func inputOf(m model.Module) string {
	switch {
	case m.Tied:
		return "head"
	case m.Layer < 0 && m.Linear.Role != arch.RoleHead:
		return ""
	}
	return m.Linear.Input
}

// enter passes the layers before one.
func (s *sequence) enter(ctx context.Context, layer int) error {
	for s.stack.Layer() < layer {
		if err := s.stack.Advance(ctx, s.cur); err != nil {
			return err
		}
		s.reset()
	}
	return nil
}

// put makes a matrix part of the model that later ones follow. With an embedding,
// which comes before all of them, the texts are embedded anew.
func (s *sequence) put(m model.Module, l *kernels.Linear) (err error) {
	s.over[m.Name] = l
	s.rewire()
	if m.Kind == "embed" {
		s.stack, err = s.cur.NewStack(s.stack.Texts())
	}
	return err
}

// putVector does the same for a norm or a bias.
func (s *sequence) putVector(name string, v []float32) {
	s.vectors[name] = v
	s.rewire()
}

func (s *sequence) rewire() {
	s.cur = s.base.With(s.over).WithVectors(s.vectors)
}

// input gives f, text by text, what enters a matrix of the current layer; x is
// valid during the call.
func (s *sequence) input(ctx context.Context, m model.Module, f func(x []float32, rows, cols int) error) error {
	return s.inputsOf(ctx, s.stack, s.cur, m, f)
}

// inputsOf gives f what enters a matrix of the layer after those that a stack has
// passed. An embedding comes first; what it multiplies as the head, last: no more
// than a layer's weights are in memory on the way there.
func (s *sequence) inputsOf(ctx context.Context, stack *rt.Stack, at *rt.Model, m model.Module, f func(x []float32, rows, cols int) error) error {
	if m.Tied {
		stack = stack.Clone()
		for stack.Layer() < at.Config.Layers() {
			layer := stack.Layer()
			if err := stack.Advance(ctx, at); err != nil {
				return err
			}
			for _, m := range s.ck.Config.Modules() {
				if m.Layer == layer {
					s.ck.Release(m.Name + ".weight")
				}
			}
		}
	}
	return stack.Input(ctx, at, inputOf(m), f)
}

// states returns the hidden states that enter the current layer from the
// quantized layers before it, by text, tokens x hidden. They must not be changed.
func (s *sequence) states() [][]float32 { return s.stack.States() }

// outputs returns the hidden states that the float layer gives for the inputs of
// the float model, by text. They are valid until the next layer and must not be
// changed.
func (s *sequence) outputs(ctx context.Context) ([][]float32, error) {
	if s.floats == nil {
		var err error
		if s.floats, err = s.base.NewStack(s.stack.Texts()); err != nil {
			return nil, err
		}
	}
	for s.floats.Layer() <= s.stack.Layer() {
		if err := s.floats.Advance(ctx, s.base); err != nil {
			return nil, err
		}
	}
	return s.floats.States(), nil
}

// factor returns the factor of the Hessian of a matrix's inputs for groups of a
// width. Matrices must come in the order of the model.
func (s *sequence) factor(ctx context.Context, m model.Module, width int) (*factor, error) {
	if kind := inputOf(m); s.moments == nil || s.kind != kind {
		s.kind, s.moments, s.factors = kind, newHessian(s.base.Engine, m.Cols), map[int]*factor{}
		s.sample = kernels.NewMatrix(0, m.Cols)
		err := s.input(ctx, m, func(x []float32, rows, cols int) error {
			if n := min(rows, sampleRows-s.sample.Rows); n > 0 {
				s.sample.Data = append(s.sample.Data, x[:n*cols]...)
				s.sample.Rows += n
			}
			return s.moments.add(ctx, x, rows, cols)
		})
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
