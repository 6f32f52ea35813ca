package quant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	rt "nibble/runtime"
)

// method is how a method takes part in a pass over a checkpoint. A pass goes
// stage by stage: the embedding, each layer, the output head. In a stage, the
// methods' transform come first, then the matrices of methods with matrix in the
// order of the model, then those of methods with layer.
type method struct {
	// inputs says that the method measures the inputs of the matrices: the recipe
	// needs a calibration and the pass has a sequence.
	inputs bool

	// transform, if there is one, prepares a stage for its matrices ms of the method:
	// it may replace weights, norms and biases of the stage by others that compute
	// the same (pass.replaceWeight, pass.replaceVector).
	transform func(ctx context.Context, p *pass, s stage, ms []PlannedModule) error

	// matrix quantizes one matrix; step hears how many more rows are done.
	matrix func(ctx context.Context, p *pass, m PlannedModule, step func(rows int)) (Quantized, error)

	// layer quantizes all of its matrices of a layer together, for the inputs
	// sequence.states and, if it wants them, the float model's outputs
	// (sequence.outputs: the sequence then follows the float model as well). The
	// others of the layer are quantized already (pass.settled). The results are in the order of ms.
	// step hears of rows, of all ms together.
	layer func(ctx context.Context, p *pass, s stage, ms []PlannedModule, step func(rows int)) ([]Quantized, error)
}

// Quantized is a matrix with what quantizing did to it.
type Quantized struct {
	Q      *kernels.QTensor
	Stats  Stats
	Silent int // inputs that are 0 for the whole calibration
}

// methodOf returns a method by its name, which is one of Methods.
func methodOf(name string) method {
	rows := func(ctx context.Context, p *pass, m PlannedModule, step func(int)) (Quantized, error) {
		q, stats, err := p.quantizeRows(ctx, m, nil, step)
		return Quantized{Q: q, Stats: stats}, err
	}
	switch name {
	case IMatrix:
		return method{inputs: true, matrix: imatrixMatrix}
	case AWQ:
		return method{inputs: true, transform: awqTransform, matrix: imatrixMatrix}
	case GPTQ:
		return method{inputs: true, matrix: gptqMatrix}
	case AutoRound, AutoRoundLight:
		return method{inputs: true, layer: autoroundLayer}
	case AutoRoundBest:
		return method{inputs: true, layer: autoroundModel}
	default:
		return method{matrix: rows}
	}
}

// stage is what a pass does in one go.
type stage struct {
	layer   int // -1 for the embedding, the number of layers for the head
	modules []PlannedModule
}

// stages cuts the matrices of a plan into stages.
func stages(c model.Config, ms []PlannedModule) []stage {
	var out []stage
	for _, m := range ms {
		layer := layerOf(c, m.Module)
		if n := len(out); n == 0 || out[n-1].layer != layer {
			out = append(out, stage{layer: layer})
		}
		last := &out[len(out)-1]
		last.modules = append(last.modules, m)
	}
	return out
}

// layerOf is the layer whose inputs a matrix sees.
func layerOf(c model.Config, m model.Module) int {
	if m.Linear.Role == arch.RoleHead {
		return c.Layers()
	}
	return m.Layer
}

// of returns the stage's matrices of a method.
func (s stage) of(name string) []PlannedModule {
	var out []PlannedModule
	for _, m := range s.modules {
		if !m.Spec.Kept() && m.Spec.Method == name {
			out = append(out, m)
		}
	}
	return out
}

// needs reports whether a method of the stage has a property.
func (s stage) needs(property func(method) bool) bool {
	for _, m := range s.modules {
		if !m.Spec.Kept() && property(methodOf(m.Spec.Method)) {
			return true
		}
	}
	return false
}

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

	// seq follows the model that is being quantized; nil when no method of this stage
	// or a later one measures inputs.
	seq  *sequence
	base *rt.Model    // nil if none does
	cal  *Calibration // what the sequence is made of, and tells which tokens are frequent

	weights  map[string]kernels.Matrix   // of this stage that were replaced, by module
	vectors  map[string][]float32        // norms and biases of this stage that were replaced, by tensor
	replaced []string                    // tensors of this stage that are kept and were replaced
	done     map[string]*kernels.QTensor // of this stage
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
	all := stages(p.ck.Config, p.plan.Modules)
	last := -1 // the last stage for which inputs are measured
	for i, s := range all {
		if s.needs(func(m method) bool { return m.inputs }) {
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
func (p *pass) enter(ctx context.Context, s stage) error {
	p.weights, p.vectors, p.done, p.replaced = map[string]kernels.Matrix{}, map[string][]float32{}, map[string]*kernels.QTensor{}, nil
	if p.seq == nil || s.layer < 0 {
		return nil
	}
	return p.seq.enter(ctx, s.layer)
}

func (p *pass) stage(ctx context.Context, s stage) error {
	if err := p.enter(ctx, s); err != nil {
		return err
	}
	if ok, err := p.restore(s); ok || err != nil {
		return err
	}
	return p.work(ctx, s)
}

// restore takes over a stage that is finished already, and reports whether it is.
func (p *pass) restore(s stage) (bool, error) {
	replaced, ok := p.out.replaced(s.layer)
	if !ok || len(p.unfinished(s.modules)) > 0 {
		return false, nil
	}
	for _, m := range s.modules {
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
		i := slices.IndexFunc(s.modules, func(m PlannedModule) bool { return m.Module.Name+".weight" == name })
		if i < 0 {
			p.seq.putVector(name, v)
			continue
		}
		m := s.modules[i].Module
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
func (p *pass) work(ctx context.Context, s stage) error {
	for _, name := range Methods() {
		if f, ms := methodOf(name).transform, s.of(name); f != nil && len(ms) > 0 {
			if err := f(ctx, p, s, ms); err != nil {
				return err
			}
		}
	}
	for _, m := range s.modules {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.module(ctx, m); err != nil {
			return err
		}
	}
	for _, name := range Methods() {
		f, ms := methodOf(name).layer, s.of(name)
		if f == nil || len(ms) == 0 {
			continue
		}
		if len(p.unfinished(ms)) == 0 {
			for _, m := range ms {
				if err := p.reuse(m); err != nil {
					return err
				}
			}
			continue
		}
		results, err := f(ctx, p, s, ms, p.stepper(ms...))
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
	if err := p.out.endStage(s.layer, p.replaced); err != nil {
		return err
	}
	for _, m := range s.modules {
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
	f := methodOf(m.Spec.Method).matrix
	if f == nil {
		return nil
	}
	if len(p.unfinished([]PlannedModule{m})) == 0 {
		return p.reuse(m)
	}
	done, err := f(ctx, p, m, p.stepper(m))
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

// weight returns the float weights of a matrix of this stage, as stored or as a
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

// settled returns what a matrix of this stage computes with from now on: its
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

// replaceWeight gives a matrix of this stage, not quantized yet, other float
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

// replaceVector gives a norm or bias of this stage ("model.norm.weight" belongs
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
// they are needed: the matrix never exists as floats. h weighs the squared error
// of each column in the search for scales; nil weighs them alike.
func (p *pass) quantizeRows(ctx context.Context, m PlannedModule, h []float32, step func(rows int)) (*kernels.QTensor, Stats, error) {
	row, err := p.rows(m.Module)
	if err != nil {
		return nil, Stats{}, err
	}
	q, stats, err := quantize(ctx, p.eng, m.Module.Rows, m.Module.Cols, m.Spec, h, row, step)
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

// rows returns a function that gives a row of a matrix of this stage, in the buffer
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

// One quantizes a single matrix of a checkpoint.
func One(ctx context.Context, eng *kernels.Engine, ck *model.Checkpoint, m model.Module, s Spec) (*kernels.QTensor, Stats, error) {
	if err := checkCalibrated(s); err != nil {
		return nil, Stats{}, err
	}
	row, err := storedRows(ck, m)
	if err != nil {
		return nil, Stats{}, err
	}
	q, stats, err := quantize(ctx, eng, m.Rows, m.Cols, s, nil, row, nil)
	return q, stats, tensorError(ck, m, err)
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
