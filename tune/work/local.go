package work

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/model/output"
	"nibble/quant"
	rt "nibble/runtime"
)

// Local does work in this process. Errors and divergences come fastest in the order
// of the model, and the divergence of matrices right after their error.
type Local struct {
	Source      *model.Checkpoint
	Base        *rt.Model // Source, loaded
	Calibration *quant.Calibration
	Reference   *eval.Reference // of Base, with the windows that are asked for
	Artifacts   Artifacts
	Unkept      func(error) // hears why an artifact cannot be kept; its trial goes on

	screen *quant.Screen // nil until it is needed
	stack  *rt.Stack     // windows in the float model, before the layer in work; nil until it is needed
	on     []int         // those windows
	layer  int           // of the matrices measured last
	held   held
}

// held is quantized matrices of one role in a layer, from the measurement of their
// errors to that of the divergences.
type held struct {
	part  string // which matrices they are of
	by    map[string]*kernels.QTensor
	bytes int64
}

// heldBytes bounds what is held.
const heldBytes = 256 << 20

// Do implements Worker.
func (l *Local) Do(ctx context.Context, w Work, watch Watcher) (Outcome, error) {
	switch w.Kind {
	case Error:
		return l.error(ctx, w)
	case Divergence:
		return l.divergence(ctx, w)
	case Trial:
		return l.trial(ctx, w, watch)
	}
	return Outcome{}, fmt.Errorf("there is no work of the kind %q", w.Kind)
}

// enter finds the matrices of some work and the spec. What was prepared for a later
// layer is begun anew.
func (l *Local) enter(w Work) (ms []model.Module, spec quant.Spec, err error) {
	r, err := quant.ParseRecipe(w.Spec)
	if err != nil {
		return nil, spec, err
	}
	all := l.Source.Config.Modules()
	for _, name := range w.Matrices {
		i := slices.IndexFunc(all, func(m model.Module) bool { return m.Name == name })
		if i < 0 {
			return nil, spec, fmt.Errorf("%s has no matrix %s", l.Source.Ref, name)
		}
		ms = append(ms, all[i])
	}
	if len(ms) == 0 {
		return nil, spec, fmt.Errorf("work of the kind %s names no matrix", w.Kind)
	}
	layer := stageOf(l.Source.Config, ms[0])
	if layer < l.layer {
		l.screen, l.stack = nil, nil
	}
	l.layer = layer
	if part := fmt.Sprint(layer, " ", ms[0].Kind); part != l.held.part {
		l.held = held{part: part, by: map[string]*kernels.QTensor{}}
	}
	return ms, r.Default, nil
}

// stageOf orders the matrices of a model: the embedding comes before the layers, the
// head after them.
func stageOf(c model.Config, m model.Module) int {
	if m.Layer < 0 && m.Linear.Role == arch.RoleHead {
		return c.Layers()
	}
	return m.Layer
}

// quantized stores a matrix, alone in the float model, and returns its error.
func (l *Local) quantized(ctx context.Context, m model.Module, spec quant.Spec) (*kernels.QTensor, float64, error) {
	if l.screen == nil {
		var err error
		if l.screen, err = quant.NewScreen(l.Base, l.Source, l.Calibration); err != nil {
			return nil, 0, err
		}
	}
	q, lost, err := l.screen.Quantize(ctx, m, spec)
	if err != nil {
		return nil, 0, err
	}
	if l.held.bytes += q.Bytes(); l.held.bytes <= heldBytes {
		l.held.by[m.Name+" "+spec.String()] = q
	}
	return q, lost, nil
}

// error is the mean of what the outputs of matrices lose.
func (l *Local) error(ctx context.Context, w Work) (Outcome, error) {
	ms, spec, err := l.enter(w)
	if err != nil {
		return Outcome{}, err
	}
	sum := 0.0
	for _, m := range ms {
		_, lost, err := l.quantized(ctx, m, spec)
		if err != nil {
			return Outcome{}, err
		}
		sum += lost
	}
	return Outcome{Value: sum / float64(len(ms))}, nil
}

// divergence is the KL divergence of the model with only these matrices quantized.
func (l *Local) divergence(ctx context.Context, w Work) (Outcome, error) {
	ms, spec, err := l.enter(w)
	if err != nil {
		return Outcome{}, err
	}
	over := map[string]*kernels.Linear{}
	for _, m := range ms {
		q := l.held.by[m.Name+" "+spec.String()]
		if q == nil {
			if q, _, err = l.quantized(ctx, m, spec); err != nil {
				return Outcome{}, err
			}
		}
		if over[m.Name], err = kernels.NewQuantLinear(q); err != nil {
			return Outcome{}, err
		}
	}
	alone := l.Base.With(over)
	stack, err := l.before(ctx, alone, w.Windows)
	if err != nil {
		return Outcome{}, err
	}
	value, err := l.Reference.Divergence(ctx, alone, stack, w.Windows)
	return Outcome{Value: value}, err
}

// before is the windows in a model that differs from the float one in the layer in
// work alone, before that layer.
func (l *Local) before(ctx context.Context, alone *rt.Model, windows []int) (*rt.Stack, error) {
	if l.layer < 0 {
		return l.Reference.Stack(alone, windows)
	}
	if l.stack == nil || !slices.Equal(l.on, windows) {
		var err error
		if l.stack, err = l.Reference.Stack(l.Base, windows); err != nil {
			return nil, err
		}
		l.on = windows
	}
	for l.stack.Layer() < l.layer {
		if err := l.stack.Advance(ctx, l.Base); err != nil {
			return nil, err
		}
	}
	return l.stack.Clone(), nil
}

// trial quantizes the model and measures it.
func (l *Local) trial(ctx context.Context, w Work, watch Watcher) (Outcome, error) {
	if w.Recipe == nil || len(w.Windows) != l.Reference.Windows() {
		return Outcome{}, fmt.Errorf("a trial needs a recipe, and the %d windows of the reference", l.Reference.Windows())
	}
	m, done, err := l.model(ctx, w, watch)
	if err != nil {
		return Outcome{}, err
	}
	defer done()
	if watch.Quantized != nil {
		watch.Quantized()
	}
	windows := 0
	res, err := eval.Run(ctx, m, l.Reference, eval.Options{}, func(e eval.Event) {
		if p, ok := e.(eval.Progress); ok {
			windows = p.Done
		}
	}, func(r eval.Result) bool {
		end := watch.Window != nil && watch.Window(r, windows)
		if windows == len(w.Windows) {
			return false
		}
		return end || w.Beyond != 0 && windows >= leastWindows && r.PPLRatio-Hopeless*r.PPLRatioSE > 1+w.Beyond
	})
	if errors.Is(err, eval.ErrStopped) {
		return Outcome{Result: res, Stopped: true}, nil
	}
	return Outcome{Result: res}, err
}

// Hopeless is how many standard errors beyond what is asked a loss ends a trial early.
const Hopeless = 4

// leastWindows is how many windows a trial has at least that ends so.
const leastWindows = 4

// model quantizes the model of a trial: into the artifacts if it is to be kept, where
// it may lie already, else in memory.
func (l *Local) model(ctx context.Context, w Work, watch Watcher) (m *rt.Model, done func(), err error) {
	if w.Keep && l.Artifacts.Dir != "" {
		m, done, err = l.kept(ctx, *w.Recipe, watch.Quantizing)
		if !errors.Is(err, output.ErrDisk) && !errors.Is(err, output.ErrUnwritable) {
			return m, done, err
		}
		l.Unkept(err)
	}
	m, _, err = quant.ApplyCalibrated(ctx, l.Base, l.Source, *w.Recipe, l.Calibration, watch.Quantizing)
	return m, func() {}, err
}

// kept quantizes into the artifacts, or finds that done, and loads the result.
func (l *Local) kept(ctx context.Context, r quant.Recipe, listen quant.Listener) (*rt.Model, func(), error) {
	o := quant.Options{Engine: l.Base.Engine, Source: l.Source, Base: l.Base, Recipe: r, Out: l.Artifacts.Of(r), Calibration: l.Calibration}
	res, err := quant.Run(ctx, o, listen)
	if err != nil {
		return nil, nil, err
	}
	ck, err := model.Open(res.Path)
	if err != nil {
		return nil, nil, err
	}
	m, err := rt.Load(ctx, l.Base.Engine, ck)
	if err != nil {
		ck.Close()
		return nil, nil, err
	}
	return m, func() { ck.Close() }, nil
}
