package pass

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/calib"
	"nibble/quant/cost"
	"nibble/quant/grid"
	rt "nibble/runtime"
)

// ErrTooLarge reports weights or inputs that a method's sums have no room for.
var ErrTooLarge = errors.New("weights or inputs are too large to quantize")

// Pass is the quantization of a checkpoint by a recipe. What it returns to
// methods is valid within the stage.
type Pass struct {
	Engine     *kernels.Engine
	Checkpoint *model.Checkpoint
	Sink       Sink
	Listener   Listener

	// Sequence follows the model that is being quantized; nil when no method of this stage
	// or a later one measures inputs.
	Sequence    *calib.Sequence
	Base        *rt.Model          // nil if none does
	Calibration *calib.Calibration // what the sequence is made of, and tells which tokens are frequent

	Weights  map[string]kernels.Matrix   // of this stage that were replaced, by module
	Vectors  map[string][]float32        // norms and biases of this stage that were replaced, by tensor
	replaced []string                    // tensors of this stage that are kept and were replaced
	done     map[string]*kernels.QTensor // of this stage
	Whole    map[string]Quantized        // that were trained together, of all stages

	Planned  []PlannedModule // all matrices
	total    int             // of them that are quantized
	all      int64           // weights in those
	lines    map[string]ModuleReport
	start    time.Time
	recent   window
	params   int64 // quantized so far
	restored int64 // and quantized before
	modules  int   // finished so far
}

// New prepares a pass; base is needed for methods that measure inputs.
func New(ck *model.Checkpoint, planned []PlannedModule, base *rt.Model, c *calib.Calibration, eng *kernels.Engine, out Sink, l Listener) (*Pass, error) {
	layer, _ := cost.WeightsOf(ck.Config)
	p := &Pass{recent: window{least: layer}, Engine: eng, Checkpoint: ck, Sink: out, Listener: l, Planned: planned, lines: map[string]ModuleReport{}, start: time.Now()}
	for _, m := range planned {
		if m.Method != nil {
			p.total, p.all = p.total+1, p.all+int64(m.Module.Rows)*int64(m.Module.Cols)
		}
	}
	p.Base, p.Calibration = base, c
	if base == nil {
		return p, nil
	}
	var err error
	p.Sequence, err = calib.NewSequence(ck, base, c)
	ck.Release(ck.Config.Embed.Path + ".weight") // whose rows are looked up
	return p, err
}

// Run goes through all stages and returns the lines of the report.
func (p *Pass) Run(ctx context.Context) ([]ModuleReport, error) {
	for _, d := range p.Checkpoint.Config.Floats() {
		if err := p.Checkpoint.CheckFinite(ctx, d.Name); err != nil {
			return nil, err
		}
	}
	all := Stages(p.Checkpoint.Config, p.Planned)
	last := -1 // the last stage for which inputs are measured
	for i, s := range all {
		if s.Needs(func(m *Method) bool { return m.Needs.Inputs > 0 }) {
			last = i
		}
	}
	for i, s := range all {
		if i > last {
			p.Sequence = nil
		}
		if err := p.RunStage(ctx, s); err != nil {
			return nil, err
		}
	}
	var lines []ModuleReport
	for _, m := range p.Planned {
		lines = append(lines, p.lines[m.Module.Name])
	}
	return lines, nil
}

// Enter begins a stage.
func (p *Pass) Enter(ctx context.Context, s Stage) error {
	p.Weights, p.Vectors, p.done, p.replaced = map[string]kernels.Matrix{}, map[string][]float32{}, map[string]*kernels.QTensor{}, nil
	if p.Sequence == nil || s.Layer < 0 {
		return nil
	}
	return p.Sequence.Enter(ctx, s.Layer)
}

// RunStage goes through one stage, or takes it over where it is finished.
func (p *Pass) RunStage(ctx context.Context, s Stage) error {
	if err := p.Enter(ctx, s); err != nil {
		return err
	}
	if ok, err := p.restore(s); ok || err != nil {
		return err
	}
	return p.Work(ctx, s)
}

// restore takes over a stage that is finished already, and reports whether it is.
func (p *Pass) restore(s Stage) (bool, error) {
	replaced, ok := p.Sink.Replaced(s.Layer)
	if !ok || len(p.unfinished(s.Modules)) > 0 {
		return false, nil
	}
	for _, m := range s.Modules {
		if m.Spec.Kept() {
			p.lines[m.Module.Name] = m.Line(Quantized{})
		} else if err := p.reuse(m); err != nil {
			return false, err
		}
	}
	for _, name := range replaced {
		if p.Sequence == nil {
			break // nothing follows that would meet it
		}
		v, err := p.Sink.Floats(name)
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(s.Modules, func(m PlannedModule) bool { return m.Module.Name+".weight" == name })
		if i < 0 {
			p.Sequence.PutVector(name, v)
			continue
		}
		m := s.Modules[i].Module
		l, err := kernels.NewMatrixLinear(kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols, Data: v})
		if err != nil {
			return false, err
		}
		if err := p.Sequence.Put(m, l); err != nil {
			return false, err
		}
	}
	return true, nil
}

// unfinished returns the matrices that are to be quantized yet.
func (p *Pass) unfinished(ms []PlannedModule) []PlannedModule {
	return slices.DeleteFunc(slices.Clone(ms), func(m PlannedModule) bool {
		_, ok := p.Sink.Line(m.Module)
		return ok || m.Spec.Kept()
	})
}

// reuse takes over a matrix that is finished already.
func (p *Pass) reuse(m PlannedModule) error {
	line, _ := p.Sink.Line(m.Module)
	if p.Sequence != nil {
		q, err := p.Sink.Q(m.Module)
		if err != nil {
			return err
		}
		if err := p.Follow(m.Module, q); err != nil {
			return err
		}
	}
	p.restored += int64(m.Module.Rows) * int64(m.Module.Cols)
	p.tell(m, line, true)
	return nil
}

// Work quantizes the matrices of a stage.
func (p *Pass) Work(ctx context.Context, s Stage) error {
	for _, how := range s.Methods() {
		if how.Transform != nil {
			if err := how.Transform(ctx, p, s, s.Of(how)); err != nil {
				return err
			}
		}
	}
	for _, m := range s.Modules {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.module(ctx, m); err != nil {
			return err
		}
	}
	for _, how := range s.Methods() {
		if how.Layer == nil {
			continue
		}
		ms := s.Of(how)
		if len(p.unfinished(ms)) == 0 {
			for _, m := range ms {
				if err := p.reuse(m); err != nil {
					return err
				}
			}
			continue
		}
		results, err := how.Layer(ctx, p, s, ms, p.stepper(ms...))
		if err != nil {
			return err
		}
		for i, m := range ms {
			if err := p.finish(m, results[i]); err != nil {
				return err
			}
		}
	}
	for name, v := range p.Vectors {
		if err := p.Sink.PutFloats(name, v); err != nil {
			return err
		}
		p.replaced = append(p.replaced, name)
	}
	slices.Sort(p.replaced)
	if err := p.Sink.EndStage(s.Layer, p.replaced); err != nil {
		return err
	}
	for _, m := range s.Modules {
		p.Checkpoint.Release(m.Module.Name + ".weight")
	}
	return nil
}

// module deals with one matrix, unless its method takes the layer as a whole.
func (p *Pass) module(ctx context.Context, m PlannedModule) error {
	if m.Spec.Kept() {
		if err := p.Checkpoint.CheckFinite(ctx, m.Module.Name+".weight"); err != nil {
			return err
		}
		p.lines[m.Module.Name] = m.Line(Quantized{})
		if w, ok := p.Weights[m.Module.Name]; ok {
			p.replaced = append(p.replaced, m.Module.Name+".weight")
			return p.Sink.PutFloats(m.Module.Name+".weight", w.Data)
		}
		return nil
	}
	if m.Method.Matrix == nil {
		return nil
	}
	if len(p.unfinished([]PlannedModule{m})) == 0 {
		return p.reuse(m)
	}
	done, err := m.Method.Matrix(ctx, p, m, p.stepper(m))
	if err != nil {
		return err
	}
	return p.finish(m, done)
}

// Line is the matrix's line in the report.
func (m PlannedModule) Line(done Quantized) ModuleReport {
	note, silent := m.Note, SilentNote(done.Silent, m.Module.Cols)
	if note != "" && silent != "" {
		note += "; "
	}
	return ModuleReport{Module: m.Module.Name, Spec: m.Spec.String(), Bytes: m.Bytes, Note: note + silent, Silent: done.Silent, Stats: done.Stats}
}

// finish hands on a quantized matrix.
func (p *Pass) finish(m PlannedModule, done Quantized) error {
	if err := p.Usable(m, done.Q); err != nil {
		return err
	}
	if err := p.Follow(m.Module, done.Q); err != nil {
		return err
	}
	line := m.Line(done)
	row, err := p.rows(m.Module)
	if err != nil {
		return err
	}
	line.Coarse = grid.CoarseRows(done.Q, row)
	if err := p.Sink.PutQ(m.Module, done.Q, line); err != nil {
		return err
	}
	p.tell(m, line, false)
	return nil
}

// Usable refuses what a method made of weights or inputs that are finite, but too
// large to calculate with.
func (p *Pass) Usable(m PlannedModule, q *kernels.QTensor) error {
	err := q.Validate()
	if err == nil && slices.ContainsFunc(q.Scales, func(s uint16) bool { return s&0x7fff == 0x7bff }) {
		err = errors.New("scales beyond F16")
	}
	if err != nil {
		return fmt.Errorf("%s: tensor %s.weight: %w: %s gives %v; is a weight far too large? Else keep it, by the rule %q",
			p.Checkpoint.Ref, m.Module.Name, ErrTooLarge, m.Spec.Method, err, m.Module.Name+" keep")
	}
	return nil
}

// Follow makes a quantized matrix part of the model that later ones follow.
func (p *Pass) Follow(m model.Module, q *kernels.QTensor) error {
	p.done[m.Name] = q
	if p.Sequence == nil {
		return nil
	}
	l, err := kernels.NewQuantLinear(q)
	if err != nil {
		return err
	}
	return p.Sequence.Put(m, l)
}

// tell reports a finished matrix.
func (p *Pass) tell(m PlannedModule, line ModuleReport, restored bool) {
	p.lines[m.Module.Name] = line
	p.modules++
	p.Listener.Send(ModuleDone{line.Module, line.Spec, line.Note, line.Stats, restored, p.modules, p.total, p.params + p.restored, p.all})
}

// stepper returns what tells of the progress in some matrices.
func (p *Pass) stepper(ms ...PlannedModule) func(rows int) {
	i, left := 0, ms[0].Module.Rows
	return func(rows int) {
		for rows > 0 && i < len(ms) {
			n := min(rows, left)
			p.params += int64(n) * int64(ms[i].Module.Cols)
			rows, left = rows-n, left-n
			if left == 0 && i+1 < len(ms) {
				i++
				left = ms[i].Module.Rows
			} else if left == 0 {
				break
			}
		}
		done, total, seconds := p.params+p.restored, p.all, time.Since(p.start).Seconds()
		p.recent.add(seconds, float64(done))
		p.Listener.Send(Progress{ms[i].Module.Name, done, total, seconds, p.recent.left(float64(total))})
	}
}
