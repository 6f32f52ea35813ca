package quant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	rt "nibble/runtime"
)

// ErrTooLarge reports weights or inputs that a method's sums have no room for.
var ErrTooLarge = errors.New("weights or inputs are too large to quantize")

// sink takes what a pass finishes, and gives back what an interrupted pass with
// the same arguments finished before.
type sink interface {
	// putQ takes a quantized matrix and its line in the report.
	putQ(m model.Module, q *kernels.QTensor, line ModuleReport) error
	// putFloats takes a tensor that a transformation replaced, rounded to the type
	// that it is stored in.
	putFloats(name string, v []float32) error
	// endStage says that all of a stage has been put, and which tensors were
	// replaced in it.
	endStage(layer int, replaced []string) error

	// line returns the line of a matrix that is finished, and q the matrix.
	line(m model.Module) (ModuleReport, bool)
	q(m model.Module) (*kernels.QTensor, error)
	// replaced returns which tensors were replaced in a stage that was ended and whose
	// replacements are there, and floats one of them.
	replaced(layer int) ([]string, bool)
	floats(name string) ([]float32, error)

	// keep makes the state of something that takes long durable, in place of what had
	// its name, and kept returns it.
	keep(name string, data []byte) error
	kept(name string) ([]byte, bool)
}

// pass is the quantization of a checkpoint by a recipe. What it returns to
// methods is valid within the stage.
type pass struct {
	eng *kernels.Engine
	ck  *model.Checkpoint
	out sink
	l   Listener

	// seq follows the model that is being quantized; nil when no method of this Stage
	// or a later one measures inputs.
	seq  *sequence
	base *rt.Model    // nil if none does
	cal  *Calibration // what the sequence is made of, and tells which tokens are frequent

	weights  map[string]kernels.Matrix   // of this Stage that were replaced, by module
	vectors  map[string][]float32        // norms and biases of this Stage that were replaced, by tensor
	replaced []string                    // tensors of this Stage that are kept and were replaced
	done     map[string]*kernels.QTensor // of this Stage
	whole    map[string]Quantized        // that were trained together, of all stages

	plan     Plan
	lines    map[string]ModuleReport
	start    time.Time
	recent   window
	params   int64 // quantized so far
	restored int64 // and quantized before
	modules  int   // finished so far
}

// newPass prepares a pass; base is needed for methods that measure inputs.
func newPass(ck *model.Checkpoint, plan Plan, base *rt.Model, c *Calibration, eng *kernels.Engine, out sink, l Listener) (*pass, error) {
	layer, _ := weightsOf(ck.Config)
	p := &pass{recent: window{least: layer}, eng: eng, ck: ck, out: out, l: l, plan: plan, lines: map[string]ModuleReport{}, start: time.Now()}
	p.base, p.cal = base, c
	if base == nil {
		return p, nil
	}
	var err error
	p.seq, err = newSequence(ck, base, c)
	ck.Release(ck.Config.Embed.Path + ".weight") // whose rows are looked up
	return p, err
}

// run goes through all stages and returns the lines of the report.
func (p *pass) run(ctx context.Context) ([]ModuleReport, error) {
	for _, d := range p.ck.Config.Floats() {
		if err := p.ck.CheckFinite(ctx, d.Name); err != nil {
			return nil, err
		}
	}
	all := Stages(p.ck.Config, p.plan.Modules)
	last := -1 // the last stage for which inputs are measured
	for i, s := range all {
		if s.Needs(func(m *Method) bool { return m.Needs.Inputs > 0 }) {
			last = i
		}
	}
	for i, s := range all {
		if i > last {
			p.seq = nil
		}
		if err := p.stage(ctx, s); err != nil {
			return nil, err
		}
	}
	var lines []ModuleReport
	for _, m := range p.plan.Modules {
		lines = append(lines, p.lines[m.Module.Name])
	}
	return lines, nil
}

// enter begins a stage.
func (p *pass) enter(ctx context.Context, s Stage) error {
	p.weights, p.vectors, p.done, p.replaced = map[string]kernels.Matrix{}, map[string][]float32{}, map[string]*kernels.QTensor{}, nil
	if p.seq == nil || s.Layer < 0 {
		return nil
	}
	return p.seq.enter(ctx, s.Layer)
}

func (p *pass) stage(ctx context.Context, s Stage) error {
	if err := p.enter(ctx, s); err != nil {
		return err
	}
	if ok, err := p.restore(s); ok || err != nil {
		return err
	}
	return p.work(ctx, s)
}

// restore takes over a stage that is finished already, and reports whether it is.
func (p *pass) restore(s Stage) (bool, error) {
	replaced, ok := p.out.replaced(s.Layer)
	if !ok || len(p.unfinished(s.Modules)) > 0 {
		return false, nil
	}
	for _, m := range s.Modules {
		if m.Spec.Kept() {
			p.lines[m.Module.Name] = m.line(Quantized{})
		} else if err := p.reuse(m); err != nil {
			return false, err
		}
	}
	for _, name := range replaced {
		if p.seq == nil {
			break // nothing follows that would meet it
		}
		v, err := p.out.floats(name)
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(s.Modules, func(m PlannedModule) bool { return m.Module.Name+".weight" == name })
		if i < 0 {
			p.seq.putVector(name, v)
			continue
		}
		m := s.Modules[i].Module
		l, err := kernels.NewMatrixLinear(kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols, Data: v})
		if err != nil {
			return false, err
		}
		if err := p.seq.put(m, l); err != nil {
			return false, err
		}
	}
	return true, nil
}

// unfinished returns the matrices that are to be quantized yet.
func (p *pass) unfinished(ms []PlannedModule) []PlannedModule {
	return slices.DeleteFunc(slices.Clone(ms), func(m PlannedModule) bool {
		_, ok := p.out.line(m.Module)
		return ok || m.Spec.Kept()
	})
}

// reuse takes over a matrix that is finished already.
func (p *pass) reuse(m PlannedModule) error {
	line, _ := p.out.line(m.Module)
	if p.seq != nil {
		q, err := p.out.q(m.Module)
		if err != nil {
			return err
		}
		if err := p.follow(m.Module, q); err != nil {
			return err
		}
	}
	p.restored += int64(m.Module.Rows) * int64(m.Module.Cols)
	p.tell(m, line, true)
	return nil
}

// work quantizes the matrices of a stage.
func (p *pass) work(ctx context.Context, s Stage) error {
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
	for name, v := range p.vectors {
		if err := p.out.putFloats(name, v); err != nil {
			return err
		}
		p.replaced = append(p.replaced, name)
	}
	slices.Sort(p.replaced)
	if err := p.out.endStage(s.Layer, p.replaced); err != nil {
		return err
	}
	for _, m := range s.Modules {
		p.ck.Release(m.Module.Name + ".weight")
	}
	return nil
}

// module deals with one matrix, unless its method takes the layer as a whole.
func (p *pass) module(ctx context.Context, m PlannedModule) error {
	if m.Spec.Kept() {
		if err := p.ck.CheckFinite(ctx, m.Module.Name+".weight"); err != nil {
			return err
		}
		p.lines[m.Module.Name] = m.line(Quantized{})
		if w, ok := p.weights[m.Module.Name]; ok {
			p.replaced = append(p.replaced, m.Module.Name+".weight")
			return p.out.putFloats(m.Module.Name+".weight", w.Data)
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

// line is the matrix's line in the report.
func (m PlannedModule) line(done Quantized) ModuleReport {
	note, silent := m.Note, silentNote(done.Silent, m.Module.Cols)
	if note != "" && silent != "" {
		note += "; "
	}
	return ModuleReport{Module: m.Module.Name, Spec: m.Spec.String(), Bytes: m.Bytes, Note: note + silent, Silent: done.Silent, Stats: done.Stats}
}

// finish hands on a quantized matrix.
func (p *pass) finish(m PlannedModule, done Quantized) error {
	if err := p.usable(m, done.Q); err != nil {
		return err
	}
	if err := p.follow(m.Module, done.Q); err != nil {
		return err
	}
	line := m.line(done)
	row, err := p.rows(m.Module)
	if err != nil {
		return err
	}
	line.Coarse = coarseRows(done.Q, row)
	if err := p.out.putQ(m.Module, done.Q, line); err != nil {
		return err
	}
	p.tell(m, line, false)
	return nil
}

// usable refuses what a method made of weights or inputs that are finite, but too
// large to calculate with.
func (p *pass) usable(m PlannedModule, q *kernels.QTensor) error {
	err := q.Validate()
	if err == nil && slices.ContainsFunc(q.Scales, func(s uint16) bool { return s&0x7fff == 0x7bff }) {
		err = errors.New("scales beyond F16")
	}
	if err != nil {
		return fmt.Errorf("%s: tensor %s.weight: %w: %s gives %v; is a weight far too large? Else keep it, by the rule %q",
			p.ck.Ref, m.Module.Name, ErrTooLarge, m.Spec.Method, err, m.Module.Name+" keep")
	}
	return nil
}

// follow makes a quantized matrix part of the model that later ones follow.
func (p *pass) follow(m model.Module, q *kernels.QTensor) error {
	p.done[m.Name] = q
	if p.seq == nil {
		return nil
	}
	l, err := kernels.NewQuantLinear(q)
	if err != nil {
		return err
	}
	return p.seq.put(m, l)
}

// tell reports a finished matrix.
func (p *pass) tell(m PlannedModule, line ModuleReport, restored bool) {
	p.lines[m.Module.Name] = line
	p.modules++
	p.l.send(ModuleDone{line.Module, line.Spec, line.Note, line.Stats, restored, p.modules, p.plan.Quantized, p.params + p.restored, p.plan.QuantizedParams})
}

// stepper returns what tells of the progress in some matrices.
func (p *pass) stepper(ms ...PlannedModule) func(rows int) {
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
		done, total, seconds := p.params+p.restored, p.plan.QuantizedParams, time.Since(p.start).Seconds()
		p.recent.add(seconds, float64(done))
		p.l.send(Progress{ms[i].Module.Name, done, total, seconds, p.recent.left(float64(total))})
	}
}

// weight returns the float weights of a matrix of this Stage, as stored or as a
// transformation replaced them. They must not be changed.
func (p *pass) weight(ctx context.Context, m model.Module) (kernels.Matrix, error) {
	if w, ok := p.weights[m.Name]; ok {
		return w, nil
	}
	t, err := p.ck.Tensor(m.Name + ".weight")
	if err != nil {
		return kernels.Matrix{}, err
	}
	if err := p.ck.CheckFinite(ctx, t.Name); err != nil {
		return kernels.Matrix{}, err
	}
	return kernels.Matrix{Rows: m.Rows, Cols: m.Cols, Stride: m.Cols, Data: t.Floats()}, nil
}

// settled returns what a matrix of this Stage computes with from now on: its
// dequantized weights if it is quantized, else its float weights.
func (p *pass) settled(ctx context.Context, m model.Module) (kernels.Matrix, error) {
	q := p.done[m.Name]
	if q == nil {
		return p.weight(ctx, m)
	}
	w := kernels.NewMatrix(m.Rows, m.Cols)
	p.eng.For(m.Rows, func(_, lo, hi int) {
		for r := lo; r < hi; r++ {
			q.DequantRow(w.Row(r), r)
		}
	})
	return w, nil
}

// replaceWeight gives a matrix of this Stage, not quantized yet, other float
// weights, without gaps between rows. Those of a matrix that the recipe keeps
// are rounded in place to the type that it is stored in.
func (p *pass) replaceWeight(m PlannedModule, w kernels.Matrix) error {
	if m.Spec.Kept() {
		if err := p.round(m.Module.Name+".weight", w.Data); err != nil {
			return err
		}
	}
	p.weights[m.Module.Name] = w
	if p.seq != nil {
		l, err := kernels.NewMatrixLinear(w)
		if err != nil {
			return err
		}
		return p.seq.put(m.Module, l)
	}
	return nil
}

// replaceVector gives a norm or bias of this Stage ("model.norm.weight" belongs
// to the head's) other values, which it rounds in place to the type that the
// tensor is stored in.
func (p *pass) replaceVector(name string, v []float32) error {
	if err := p.round(name, v); err != nil {
		return err
	}
	p.vectors[name] = v
	if p.seq != nil {
		p.seq.putVector(name, v)
	}
	return nil
}

// round rounds values to the type that a tensor is stored in.
func (p *pass) round(name string, v []float32) error {
	t, err := p.ck.Tensor(name)
	if err != nil {
		return err
	}
	if t.Len() != len(v) {
		return fmt.Errorf("tensor %s: %d values replace %d", name, len(v), t.Len())
	}
	kernels.RoundFloats(v, t.DType)
	return nil
}

// quantizeRows quantizes a matrix row by row. Weights as stored are decoded as
// they are needed: the matrix never exists as floats.
func (p *pass) quantizeRows(ctx context.Context, m PlannedModule, how Search, step func(rows int)) (*kernels.QTensor, Stats, error) {
	row, err := p.rows(m.Module)
	if err != nil {
		return nil, Stats{}, err
	}
	q, stats, err := quantize(ctx, p.eng, m.Module.Rows, m.Module.Cols, m.Spec.Scheme(), how, row, step)
	if _, replaced := p.weights[m.Module.Name]; !replaced {
		err = tensorError(p.ck, m.Module, err)
	}
	if err == nil && m.Spec.Top > 0 {
		p.raise(m, q, row)
		stats = measure(p.eng, row, q)
	}
	return q, stats, err
}

// rowsOf returns a function that gives the rows of a matrix.
func rowsOf(w kernels.Matrix) func(buf []float32, r int) []float32 {
	return func(_ []float32, r int) []float32 { return w.Row(r) }
}

// rows returns a function that gives a row of a matrix of this Stage, in the buffer
// of its columns that it gets or where it is.
func (p *pass) rows(m model.Module) (func(buf []float32, r int) []float32, error) {
	if w, ok := p.weights[m.Name]; ok {
		return rowsOf(w), nil
	}
	return storedRows(p.ck, m)
}

// storedRows is pass.rows of a checkpoint's weights.
func storedRows(ck *model.Checkpoint, m model.Module) (func(buf []float32, r int) []float32, error) {
	t, err := ck.Tensor(m.Name + ".weight")
	width := m.Cols * t.DType.Size()
	return func(buf []float32, r int) []float32 {
		kernels.DecodeFloats(buf, t.Data[r*width:(r+1)*width], t.DType)
		return buf
	}, err
}

// tensorError names the tensor whose stored weights are not finite, where that is the error.
func tensorError(ck *model.Checkpoint, m model.Module, err error) error {
	if errors.Is(err, ErrNotFinite) {
		return fmt.Errorf("%s: tensor %s.weight: %w; the checkpoint is damaged", ck.Ref, m.Name, err)
	}
	return err
}

// window estimates the time that is left from the rate of the last while: methods
// and matrices differ too much for the rate since the start, and within a layer
// for less than a layer.
type window struct {
	points [][2]float64 // seconds and work done
	least  float64      // work that it spans
}

const windowSeconds = 20

func (w *window) add(seconds, done float64) {
	w.points = append(w.points, [2]float64{seconds, done})
	for len(w.points) > 2 && w.points[1][0] < seconds-windowSeconds && done-w.points[1][1] >= w.least {
		w.points = w.points[1:]
	}
}

// left is the seconds until total is done.
func (w *window) left(total float64) float64 {
	first, last := w.points[0], w.points[len(w.points)-1]
	work, seconds := last[1]-first[1], last[0]-first[0]
	if total <= last[1] {
		return 0
	}
	if len(w.points) == 1 || work <= 0 {
		work, seconds = last[1], last[0] // all there is
	}
	return seconds * (total - last[1]) / work
}
