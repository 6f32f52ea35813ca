package quant

import (
	"context"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/calib"
	"nibble/quant/journal"
	"nibble/quant/pass"
	"nibble/quant/plan"
	"nibble/quant/recipe"
	rt "nibble/runtime"
)

// Apply quantizes in memory, with the default calibration: the same tensors that
// Run writes, in place of those of base, which must be loaded from ck.
func Apply(ctx context.Context, base *rt.Model, ck *model.Checkpoint, r recipe.Recipe, l pass.Listener) (*rt.Model, journal.Report, error) {
	return ApplyCalibrated(ctx, base, ck, r, nil, l)
}

// ApplyCalibrated is Apply with a calibration.
func ApplyCalibrated(ctx context.Context, base *rt.Model, ck *model.Checkpoint, r recipe.Recipe, c *calib.Calibration, l pass.Listener) (*rt.Model, journal.Report, error) {
	r, err := plan.Check(ck, r)
	if err != nil {
		return nil, journal.Report{}, err
	}
	out := &memorySink{config: ck.Config, over: map[string]*kernels.Linear{}, vectors: map[string][]float32{}}
	j := job{eng: base.Engine, ck: ck, base: base, recipe: r, calibration: c, l: l}
	if err := j.prepare(); err != nil {
		return nil, journal.Report{}, err
	}
	var report journal.Report
	err = ck.Guard(func() (err error) {
		report, err = j.run(ctx, out)
		return err
	})
	if err != nil {
		return nil, journal.Report{}, err
	}
	return base.With(out.over).WithVectors(out.vectors), report, nil
}

// memorySink prepares what a pass finishes for the kernels.
type memorySink struct {
	config  model.Config
	over    map[string]*kernels.Linear
	vectors map[string][]float32
	pass.Fresh
}

// PutQ implements pass.Sink.
func (s *memorySink) PutQ(m model.Module, q *kernels.QTensor, _ pass.ModuleReport) error {
	l, err := kernels.NewQuantLinear(q)
	s.over[m.Name] = l
	return err
}

// PutFloats implements pass.Sink.
func (s *memorySink) PutFloats(name string, v []float32) error {
	for _, m := range s.config.Modules() {
		if m.Name+".weight" == name {
			l, err := kernels.NewMatrixLinear(kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols, Data: v})
			s.over[m.Name] = l
			return err
		}
	}
	s.vectors[name] = v
	return nil
}
