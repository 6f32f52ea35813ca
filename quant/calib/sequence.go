package calib

import (
	"context"
	"fmt"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/quant/grid"
	rt "nibble/runtime"
)

// Sequence follows a model that is being quantized from its first layer to its
// last: each matrix is shown the inputs it gets from the quantized matrices
// before it ("true sequential" in GPTQ's terms).
type Sequence struct {
	ck        *model.Checkpoint
	Base, Cur *rt.Model // as it was, and with what is done of the current layer
	over      map[string]*kernels.Linear
	vectors   map[string][]float32
	Stack     *rt.Stack // before the current layer of the quantized model
	floats    *rt.Stack // of the float model; nil until outputs is called

	kind    string          // of the inputs in moments
	Moments *Hessian        // of the matrices being quantized, nil for none
	factors map[int]*Factor // by width of a group
	Sample  kernels.Matrix  // some of the inputs

	drifted string         // kind of the inputs in drift
	drift   kernels.Matrix // see Drift

	weighed string    // kind of the inputs in weights
	weights []float32 // importance of the inputs of the matrices being quantized
	Silent  int       // how many of them are 0 for all tokens
}

// NewSequence starts before the first layer of base, which must be loaded from ck.
func NewSequence(ck *model.Checkpoint, base *rt.Model, c *Calibration) (*Sequence, error) {
	stack, err := base.NewStack(c.Tokens)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", c.Name, ErrCalibration, err)
	}
	s := &Sequence{ck: ck, Base: base, Stack: stack}
	s.reset()
	return s, nil
}

// reset forgets what is done of a layer: the stack is past it.
func (s *Sequence) reset() {
	s.over, s.vectors, s.Cur, s.Moments, s.weights = map[string]*kernels.Linear{}, map[string][]float32{}, s.Base, nil, nil
	s.drift = kernels.Matrix{}
}

// InputOf names what a matrix reads, which others may share; "" is nothing that can
// be measured. An embedding that is the output head as well reads what the head
// does.
func InputOf(m model.Module) string {
	switch {
	case m.Tied:
		return "head"
	case m.Layer < 0 && m.Linear.Role != arch.RoleHead:
		return ""
	}
	return m.Linear.Input
}

// Enter passes the layers before one.
func (s *Sequence) Enter(ctx context.Context, layer int) error {
	for s.Stack.Layer() < layer {
		if err := s.Stack.Advance(ctx, s.Cur); err != nil {
			return err
		}
		s.reset()
	}
	return nil
}

// Put makes a matrix part of the model that later ones follow. With an embedding,
// which comes before all of them, the texts are embedded anew.
func (s *Sequence) Put(m model.Module, l *kernels.Linear) (err error) {
	s.over[m.Name] = l
	s.rewire()
	if m.Kind == "embed" {
		s.Stack, err = s.Cur.NewStack(s.Stack.Texts())
	}
	return err
}

// PutVector does the same for a norm or a bias.
func (s *Sequence) PutVector(name string, v []float32) {
	s.vectors[name] = v
	s.rewire()
}

func (s *Sequence) rewire() {
	s.Cur = s.Base.With(s.over).WithVectors(s.vectors)
}

// Input gives f, text by text, what enters a matrix of the current layer; x is
// valid during the call.
func (s *Sequence) Input(ctx context.Context, m model.Module, f func(x []float32, rows, cols int) error) error {
	return s.InputsOf(ctx, s.Stack, s.Cur, m, f)
}

// InputsOf gives f what enters a matrix of the layer after those that a stack has
// passed. An embedding comes first; what it multiplies as the head, last: no more
// than a layer's weights are in memory on the way there.
func (s *Sequence) InputsOf(ctx context.Context, stack *rt.Stack, at *rt.Model, m model.Module, f func(x []float32, rows, cols int) error) error {
	if m.Tied {
		stack = stack.Clone()
		for stack.Layer() < at.Config.Layers() {
			if err := s.advance(ctx, stack, at); err != nil {
				return err
			}
		}
	}
	return stack.Input(ctx, at, InputOf(m), f)
}

// States returns the hidden states that enter the current layer from the
// quantized layers before it, by text, tokens x hidden. They must not be changed.
func (s *Sequence) States() [][]float32 { return s.Stack.States() }

// Outputs returns the hidden states that the float layer gives for the inputs of
// the float model, by text. They are valid until the next layer and must not be
// changed.
func (s *Sequence) Outputs(ctx context.Context) ([][]float32, error) {
	if err := s.floatsBefore(ctx, s.Stack.Layer()+1); err != nil {
		return nil, err
	}
	return s.floats.States(), nil
}

// floatsBefore takes the float model's states to before a layer.
func (s *Sequence) floatsBefore(ctx context.Context, layer int) (err error) {
	if s.floats == nil {
		if s.floats, err = s.Base.NewStack(s.Stack.Texts()); err != nil {
			return err
		}
		s.ck.Release(s.ck.Config.Embed.Path + ".weight") // whose rows are looked up
	}
	for s.floats.Layer() < layer {
		if err := s.advance(ctx, s.floats, s.Base); err != nil {
			return err
		}
	}
	return nil
}

// advance passes a layer, whose weights need not stay in memory.
func (s *Sequence) advance(ctx context.Context, stack *rt.Stack, at *rt.Model) error {
	layer := stack.Layer()
	err := stack.Advance(ctx, at)
	for _, m := range s.ck.Config.Modules() {
		if m.Layer == layer {
			s.ck.Release(m.Name + ".weight")
		}
	}
	return err
}

// Factor returns the factor of the Hessian of a matrix's inputs for groups of a
// width. Matrices must come in the order of the model.
func (s *Sequence) Factor(ctx context.Context, m model.Module, width int) (*Factor, error) {
	if kind := InputOf(m); s.Moments == nil || s.kind != kind {
		s.kind, s.Moments, s.factors = kind, NewHessian(s.Base.Engine, m.Cols), map[int]*Factor{}
		s.Sample = kernels.NewMatrix(0, m.Cols)
		err := s.Input(ctx, m, func(x []float32, rows, cols int) error {
			if n := min(rows, grid.SampleRows-s.Sample.Rows); n > 0 {
				s.Sample.Data = append(s.Sample.Data, x[:n*cols]...)
				s.Sample.Rows += n
			}
			return s.Moments.Add(ctx, x, rows, cols)
		})
		if err == nil {
			err = s.Moments.Flush(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	if s.factors[width] == nil {
		f, err := s.Moments.NewFactor(ctx, width)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		s.factors[width] = f
	}
	return s.factors[width], nil
}
