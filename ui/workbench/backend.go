package workbench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"nibble/eval"
	"nibble/eval/report"
	"nibble/kernels"
	"nibble/kernels/panics"
	"nibble/model"
	"nibble/model/hub"
	"nibble/model/store"
	"nibble/quant"
	rt "nibble/runtime"
	"nibble/tune"
	"nibble/ui/term"
)

// errCancelled ends a job that the user stopped.
var errCancelled = errors.New("cancelled")

// engines is what the pages ask for; every call starts a job and returns at
// once. The fake of the tests stands in for it.
type engines interface {
	load()
	plan(o order)
	quantize(o order)
	evaluate(o evalOrder)
	tune(o tuneOrder)
	pause()
	use(t tune.Trial)
	measureKernels()
	measureCurve(of kernels.Shape)
	force(kernel string)
	send(text string, useFloat, fresh bool)
	cancel() bool
	busy() string
	box() *mailbox
}

// backend drives the real engines. Its own fields belong to the running job;
// jobs run one at a time.
type backend struct {
	o    Options
	mail *mailbox
	jobs *jobs
	gate gate // holds the tuner

	ck      *model.Checkpoint
	eng     *kernels.Engine
	live    atomic.Pointer[kernels.Engine] // eng, for what needs no job
	base    *rt.Model                      // the checkpoint as it is
	int4    *rt.Model                      // quantized; nil until then
	written *model.Checkpoint              // that int4 was loaded from; nil if it was made in memory
	made    quant.Report                   // of int4
	judge   evalOrder                      // what the INT4 model is measured on
	ref     *eval.Reference
	refOf   evalOrder          // of ref
	tuneOn  *quant.Calibration // of the trials; nil is the default one
	tuned   tune.Result        // of the last search
	talk    *rt.Chat
	talkOf  *rt.Model

	effort  time.Duration          // for measuring kernels; 0 is the usual one
	decoded *rt.Model              // whose decode speeds are on the Kernels page
	forced  atomic.Pointer[string] // the kernel that was forced last; nil is none
}

func newBackend(ctx context.Context, o Options) *backend {
	mail := newMailbox()
	return &backend{o: o, mail: mail, jobs: &jobs{ctx: ctx, box: mail, crash: func(c *panics.Carried) { o.Owner.End(c) }}}
}

func (b *backend) box() *mailbox { return b.mail }
func (b *backend) busy() string  { return b.jobs.running() }
func (b *backend) cancel() bool  { return b.jobs.interrupt() }

func (b *backend) close() {
	if b.ref != nil {
		b.ref.Close()
	}
	if b.eng != nil {
		b.eng.Close()
	}
	b.keepOpen(nil)
	if b.ck != nil {
		b.ck.Close()
	}
}

// start runs a job, or says why it cannot.
func (b *backend) start(name string, f func(context.Context) error) {
	if !b.jobs.start(name, f) {
		running := b.jobs.running()
		b.mail.fact(func(s *state) { s.say(fmt.Sprintf("%s is running: press x to cancel it", running)) })
	}
}

// progress shows a share of the running job.
func (b *backend) progress(eta *term.ETA, share float64, detail string) {
	eta.Add(time.Now(), share)
	left := eta.Left()
	b.mail.sample("progress", func(s *state) { s.job.share, s.job.detail, s.job.left = share, detail, left })
}

func newETA() *term.ETA { return term.NewETA(10 * time.Second) }

// downloads shows the download of a model.
func (b *backend) downloads(eta *term.ETA) hub.Listener {
	return func(e hub.Event) {
		switch e := e.(type) {
		case hub.Progress:
			b.progress(eta, float64(e.Done)/float64(max(1, e.Total)), fmt.Sprintf("downloading %s of %s", term.Bytes(e.Done), term.Bytes(e.Total)))
		case hub.Retrying:
			b.mail.fact(func(s *state) { s.say(term.CleanLine(e.Why) + "; trying again in " + term.Seconds(e.Seconds)) })
		}
	}
}

func (b *backend) load() { b.start("loading", b.doLoad) }

func (b *backend) doLoad(ctx context.Context) error {
	ck, err := store.Open(ctx, b.o.Model, b.downloads(newETA()))
	if err != nil {
		return err
	}
	b.ck = ck
	threads := b.o.Threads
	eng, err := kernels.New(kernels.Options{Threads: threads})
	if err != nil {
		return err
	}
	b.eng = eng
	b.live.Store(eng)
	if b.base, err = rt.Load(ctx, eng, ck); err != nil {
		return err
	}
	m := modelState{ref: b.o.Model, loaded: true, config: ck.Config, name: term.CleanLine(ck.Name), params: ck.Params(), bytes: ck.Bytes(),
		dtype: ck.DType(), tokenizer: "none", template: ck.Template != nil, quantized: ck.Quantized, modules: ck.Config.Modules()}
	m.stored = storage(ck)
	if ck.Quantized {
		m.report, _ = quant.ReadReport(ck.Path) // which others' models do not have
	}
	if ck.Tokenizer != nil {
		m.tokenizer = ck.Tokenizer.Kind()
	} else if ck.TokenizerErr != nil {
		m.notes = append(m.notes, term.CleanLine(ck.TokenizerErr.Error()))
	}
	if ck.TemplateErr != nil {
		m.notes = append(m.notes, term.CleanLine(ck.TemplateErr.Error()))
	}
	_, notes := rt.DefaultOptions(ck.Generation)
	for _, n := range append(slices.Clone(ck.Notes), notes...) {
		m.notes = append(m.notes, term.CleanLine(n))
	}
	b.mail.fact(func(s *state) {
		s.model = m
		s.kernel.cpu, s.kernel.isa, s.kernel.threads, s.kernel.kernels = kernels.ThisCPU(), eng.ISA(), eng.Threads(), eng.Kernels()
		s.say("ready: t tunes a recipe, z quantizes with one")
	})
	if ck.Quantized {
		return b.selectFor(ctx, b.base, false)
	}
	// The kernels page has something to show before anything is quantized: the
	// shapes of this model at the default recipe.
	return b.selectShapes(ctx, b.plannedShapes(), false)
}

// storage tells how a checkpoint holds the matrices, by name.
func storage(ck *model.Checkpoint) map[string]string {
	out := map[string]string{}
	for _, m := range ck.Config.Modules() {
		if scheme, ok := ck.Scheme(m); ok {
			out[m.Name] = scheme.String()
		} else {
			out[m.Name], _, _ = ck.Stored(m.Name + ".weight")
		}
	}
	return out
}

// plannedShapes lists the products the model would run under the default recipe.
func (b *backend) plannedShapes() []kernels.Shape {
	r := quant.DefaultRecipe().Fitted(b.ck.Config)
	return rt.Shapes(b.ck.Config.Modules(), b.eng.Threads(), func(m model.Module) (kernels.Scheme, bool) {
		return r.For(m).Scheme(), !r.For(m).Kept()
	})
}

func (b *backend) selectFor(ctx context.Context, m *rt.Model, refresh bool) error {
	return b.selectShapes(ctx, m.Shapes(), refresh)
}

func (b *backend) selectShapes(ctx context.Context, shapes []kernels.Shape, refresh bool) error {
	eta := newETA()
	b.mail.fact(func(s *state) { s.kernel.measuring = true })
	t, err := b.eng.Select(ctx, shapes, kernels.SelectOptions{Budget: b.effort, CacheDir: b.o.CacheDir, Refresh: refresh}, func(e kernels.Event) {
		switch e := e.(type) {
		case kernels.SelectStarted:
			b.mail.fact(func(s *state) {
				s.kernel.limits, s.kernel.total, s.kernel.done = e.Limits, e.Total, 0
				if refresh {
					s.kernel.choices = nil
				}
			})
		case kernels.Unkept:
			b.mail.fact(func(s *state) { s.say("the measurements are not kept for the next time: " + e.Why) })
		case kernels.ShapeMeasured:
			b.progress(eta, float64(e.Done)/float64(e.Total), e.Choice.Reason)
			b.mail.fact(func(s *state) { s.kernel.choices, s.kernel.done = append(s.kernel.choices, e.Choice), e.Done })
		}
	})
	if err != nil {
		return err
	}
	want := make(map[kernels.Shape]bool, len(shapes))
	for _, s := range shapes {
		want[s] = true
	}
	var mine []kernels.Choice
	for _, c := range t.Choices {
		if want[c.Shape] {
			mine = append(mine, c)
		}
	}
	b.mail.fact(func(s *state) { s.kernel.choices, s.kernel.measuring = mine, false })
	return nil
}

func (b *backend) measureKernels() {
	b.start("measuring kernels", func(ctx context.Context) error {
		if err := b.ready(); err != nil {
			return err
		}
		switch {
		case b.int4 != nil:
			return b.selectFor(ctx, b.int4, true)
		case b.ck.Quantized:
			return b.selectFor(ctx, b.base, true)
		}
		return b.selectShapes(ctx, b.plannedShapes(), true)
	})
}

// curveSizes are the batch sizes of a curve.
func curveSizes() []int { return []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512} }

// measureCurve measures one matrix at every batch size from 1 to 512.
func (b *backend) measureCurve(of kernels.Shape) {
	b.start("measuring batch sizes", func(ctx context.Context) error {
		if err := b.ready(); err != nil {
			return err
		}
		var shapes []kernels.Shape
		for _, m := range curveSizes() {
			s := of
			s.M = m
			shapes = append(shapes, s)
		}
		b.mail.fact(func(s *state) { s.kernel.curve = nil })
		eta := newETA()
		t, err := b.eng.Select(ctx, shapes, kernels.SelectOptions{Budget: b.effort, CacheDir: b.o.CacheDir}, func(e kernels.Event) {
			if e, ok := e.(kernels.ShapeMeasured); ok {
				b.progress(eta, float64(e.Done)/float64(e.Total), e.Choice.Reason)
				b.mail.fact(func(s *state) { s.kernel.curve = append(s.kernel.curve, e.Choice) })
			}
		})
		if err != nil {
			return err
		}
		var curve []kernels.Choice
		for _, shape := range shapes {
			if i := slices.IndexFunc(t.Choices, func(c kernels.Choice) bool { return c.Shape == shape }); i >= 0 {
				curve = append(curve, t.Choices[i])
			}
		}
		b.mail.fact(func(s *state) { s.kernel.curve = curve })
		return nil
	})
}

// measureDecode measures how fast the INT4 model generates with a kernel forced,
// after the same with the one before unless that was measured already.
func (b *backend) measureDecode(before, kernel string) {
	b.start("measuring decode speed", func(ctx context.Context) error {
		m := b.int4
		if m == nil && b.ck != nil && b.ck.Quantized {
			m = b.base
		}
		if m == nil {
			b.mail.fact(func(s *state) { s.say("no INT4 model yet whose speed could change: press z or t first") })
			return nil
		}
		defer func() { _ = b.eng.Force(b.wanted()) }() // which was accepted before
		ways := []string{before, kernel}
		if b.decoded == m {
			ways = ways[1:]
		} else {
			b.mail.fact(func(s *state) { s.kernel.decode = nil })
		}
		for i, k := range ways {
			if b.wanted() != kernel {
				return nil // another was forced in the meantime
			}
			if err := b.eng.Force(k); err != nil {
				return err
			}
			eta := newETA()
			res, err := rt.Bench(ctx, m, rt.BenchOptions{Decode: 64, Reps: 3}, func(p rt.BenchProgress) {
				b.progress(eta, (float64(i)+float64(p.Rep)/float64(p.Reps))/float64(len(ways)), kernelName(k))
			})
			if err != nil {
				return err
			}
			b.decoded = m
			b.mail.fact(func(s *state) {
				s.kernel.decode = append(s.kernel.decode, decodeSpeed{k, res.DecodeTPS})
				s.say("decode " + decodeText(s.kernel.decode))
			})
		}
		return nil
	})
}

// kernelName names what Force was given.
func kernelName(kernel string) string {
	if kernel == "" {
		return "the measured kernels"
	}
	return kernel
}

// wanted is the kernel that was forced last, "" if the measured ones are used.
func (b *backend) wanted() string {
	if k := b.forced.Load(); k != nil {
		return *k
	}
	return ""
}

// force takes effect at once, also in a running job; if none runs, the difference
// is measured.
func (b *backend) force(kernel string) {
	eng := b.live.Load()
	if eng == nil {
		return
	}
	before := b.wanted()
	err := eng.Force(kernel)
	if err == nil {
		b.forced.Store(&kernel)
	}
	b.mail.fact(func(s *state) {
		if err != nil {
			s.fail(err)
			return
		}
		s.kernel.forced = kernel
		if kernel == "" {
			s.say("every product uses the kernel that was measured for it")
		} else {
			s.say("every product uses " + kernel + " where it can; answers stay the same, speed changes")
		}
	})
	if err == nil && b.jobs.running() == "" {
		b.measureDecode(before, kernel)
	}
}

// ready reports that no model is loaded.
func (b *backend) ready() error {
	if b.base == nil {
		return errors.New("no model is loaded")
	}
	return nil
}

// floatReady also refuses checkpoints that are quantized already.
func (b *backend) floatReady() error {
	if err := b.ready(); err != nil {
		return err
	}
	if b.ck.Quantized {
		return fmt.Errorf("%s: %w: open the float model it was made from", term.CleanLine(b.ck.Ref), quant.ErrQuantized)
	}
	return nil
}

func (b *backend) evaluate(o evalOrder) {
	b.start("evaluating", func(ctx context.Context) error {
		b.judge = o
		if err := b.ready(); err != nil {
			return err
		}
		res, err := b.doEvaluate(ctx)
		if err != nil || !res.Compared() {
			return err
		}
		r, err := report.Run(ctx, report.Options{Subject: report.Subject{Name: res.what, Bytes: b.made.SizeBytes, BPW: b.made.BPW}, Base: b.ck, Running: b.int4,
			Reference: b.ref, Result: res.Result, Goal: o.aim(), Quantized: &b.made, Clean: term.OneLine}, b.evalListener())
		if err != nil {
			return err
		}
		b.mail.fact(func(s *state) { s.eval.report = &r })
		return nil
	})
}

// reference measures the float model, once on the same text and questions.
func (b *backend) reference(ctx context.Context) (*eval.Reference, error) {
	of := b.judge
	if b.ref != nil && b.refOf.alike(of) {
		return b.ref, nil
	}
	if b.ck.Tokenizer == nil {
		return nil, b.ck.TokenizerErr
	}
	o, err := of.options(b.ck, b.o.CacheDir)
	if err != nil {
		return nil, err
	}
	ref, err := eval.NewReference(ctx, b.base, o, b.evalListener())
	if err != nil {
		return nil, err
	}
	if b.ref != nil {
		b.ref.Close()
	}
	b.ref, b.refOf = ref, of
	return ref, nil
}

func (b *backend) evalListener() eval.Listener {
	eta := newETA()
	stage := ""
	step := func(name string, done, total int, detail string) {
		if name != stage {
			stage, eta = name, newETA()
		}
		b.progress(eta, float64(done)/float64(max(1, total)), detail)
	}
	return func(e eval.Event) {
		switch e := e.(type) {
		case eval.Progress:
			step(e.Stage, e.Done, e.Total, fmt.Sprintf("%s perplexity %s, %s tokens/s", e.Stage, term.Measured(e.PPL, e.PPLSE), term.Digits(e.Rate)))
		case eval.TaskProgress:
			step("questions", e.Done, e.Total, fmt.Sprintf("%s: %d of %d questions, %s a second", term.CleanLine(e.Task), e.Done, e.Total, term.Digits(e.Rate)))
		case eval.StepProgress:
			step(e.Stage, e.Done, e.Total, fmt.Sprintf("%s: %d of %d, %s a second", e.Stage, e.Done, e.Total, term.Digits(e.Rate)))
		}
	}
}

// doEvaluate measures the INT4 model against the float one, or the model alone if
// there is no other.
func (b *backend) doEvaluate(ctx context.Context) (evaluation, error) {
	b.mail.fact(func(s *state) {
		if s.job.running {
			s.job.name = "evaluating" // also as the end of a quantization
		}
	})
	ref, err := b.reference(ctx)
	if err != nil {
		return evaluation{}, err
	}
	e := evaluation{b.ck.DType(), ref.Result}
	if m := b.int4; m != nil {
		res, err := eval.Run(ctx, m, ref, eval.Options{}, b.evalListener(), nil)
		if err != nil {
			return evaluation{}, err
		}
		for i, t := range res.WorstTokens {
			res.WorstTokens[i] = t.Clean(term.OneLine)
		}
		e = evaluation{b.made.Recipe.Default.String(), res}
	}
	goal := b.judge.aim()
	b.mail.fact(func(s *state) {
		s.model.results = append(s.model.results, e)
		s.eval = evalState{goal: goal, result: &e}
		if e.Compared() {
			s.say(fmt.Sprintf("perplexity %s, %s over the float model; KL divergence %.5f", term.Fixed("%.4f", e.PPL), term.Percent(e.PPLRatio-1), e.KLDMean))
		}
	})
	return e, nil
}

func (b *backend) tune(order tuneOrder) {
	b.start("tuning", func(ctx context.Context) error {
		begun := time.Now()
		if err := b.floatReady(); err != nil {
			return err
		}
		if b.ck.Tokenizer == nil {
			return b.ck.TokenizerErr
		}
		order.ask.Model = b.o.Model
		o, err := order.ask.For(b.ck)
		if err != nil {
			return err
		}
		o.Started, o.Base, o.CacheDir, o.Eval.CacheDir, o.Runs = begun, b.base, b.o.CacheDir, b.o.CacheDir, b.o.RunsDir
		b.tuneOn, b.tuned = o.Calibration, tune.Result{}
		b.gate.open()
		b.mail.fact(func(s *state) {
			s.tune = tuneState{started: true, running: true, goal: order.aim(), limits: order.limits(), scores: map[string]map[string]tune.Score{}}
		})
		kept := "" // the run's id, if there is a journal
		listen := b.tuneListener()
		res, err := tune.Run(ctx, o, func(e tune.Event) {
			if run, ok := e.(tune.RunOpened); ok {
				kept = run.ID
				b.o.Owner.Hint(fmt.Sprintf("what was measured is kept: 'nibble runs resume %s' goes on", kept))
			}
			listen(e)
			b.gate.wait(ctx)
		})
		if err != nil {
			return err
		}
		b.tuned = res
		b.o.Owner.Hint("")
		if res.Path == "" && kept != "" {
			b.o.Owner.Hint(fmt.Sprintf("the tuned model was in memory alone: 'nibble runs show %s' tells its recipe", kept))
		}
		b.mail.fact(func(s *state) { s.tune.ended(res) })
		if ctx.Err() != nil {
			return errCancelled // at once; the trials stay, to use or to go on with
		}
		return b.useTrial(ctx, *res.Best)
	})
}

// useTrial makes a trial's recipe the INT4 model. That of the best is there already
// if it was saved or trained.
func (b *backend) useTrial(ctx context.Context, t tune.Trial) error {
	if best := b.tuned.Best; best != nil && best.Recipe.String() == t.Recipe.String() {
		where := ""
		if b.tuned.Path != "" {
			where = fmt.Sprintf("written to %s: ", term.CleanLine(b.tuned.Path))
		}
		dir := cmp.Or(b.tuned.Path, b.tuned.Made)
		if _, err := os.Stat(dir); err == nil {
			return b.open(ctx, dir, where)
		}
	}
	return b.apply(ctx, t.Recipe, b.tuneOn)
}

func (b *backend) tuneListener() tune.Listener {
	eta, unit := newETA(), ""
	step := func(name string, share float64, detail string) {
		if name != unit {
			unit, eta = name, newETA()
		}
		b.progress(eta, share, detail)
	}
	return func(e tune.Event) {
		switch e := e.(type) {
		case tune.RunOpened:
			if e.Resumed {
				b.mail.fact(func(s *state) { s.say("going on with run " + e.ID) })
			}
		case tune.Noted:
			b.mail.fact(func(s *state) { s.say(e.Text) })
		case tune.Phase:
			b.mail.fact(func(s *state) { s.tune.phase = e.About })
		case tune.ReferenceDone:
			b.mail.fact(func(s *state) { s.tune.basePPL, s.tune.goal = e.PPL, e.Goal })
		case eval.Progress:
			step("reference", float64(e.Done)/float64(e.Total), "float model")
		case tune.TrialStarted:
			t := e.Trial
			b.mail.fact(func(s *state) { s.tune.current, s.tune.progress = &t, tune.TrialProgress{} })
		case tune.TrialProgress:
			step(fmt.Sprint("trial ", e.ID), float64(e.Done)/float64(max(1, e.Total)), fmt.Sprintf("trial %d: %s", e.ID, term.Percent(e.PPLRatio-1)))
			b.mail.sample("trial", func(s *state) { s.tune.progress = e })
		case tune.TrialDone:
			b.mail.fact(func(s *state) {
				s.tune.best, s.tune.front, s.tune.current = e.Best, e.Front, nil
				if n := len(s.tune.trials); e.Trial.ID <= n { // measured once more, on more text
					s.tune.trials[e.Trial.ID-1] = e.Trial
				} else {
					s.tune.trials = append(s.tune.trials, e.Trial)
				}
			})
		case tune.Screening:
			step("screening", float64(e.Done)/float64(max(1, e.Total)), term.CleanLine(e.Matrix))
			screen := screenState{e.Matrix, "", e.Done, e.Total, eta.Rate() * float64(e.Total)}
			b.mail.fact(func(s *state) { s.tune.screen = screen })
		case tune.Score:
			step("screening", float64(e.Done)/float64(max(1, e.Total)), term.CleanLine(e.Matrix)+" "+e.Spec)
			screen := screenState{e.Matrix, e.Spec, e.Done, e.Total, eta.Rate() * float64(e.Total)}
			b.mail.fact(func(s *state) {
				s.tune.screen = screen
				for _, name := range e.Matrices {
					if s.tune.scores[name] == nil {
						s.tune.scores[name] = map[string]tune.Score{}
					}
					s.tune.scores[name][e.Spec] = e
				}
			})
		case kernels.ShapeMeasured:
			step("kernels", float64(e.Done)/float64(max(1, e.Total)), e.Choice.Reason)
		case quant.Trained:
			step(trainingName(e), float64(e.Iteration)/float64(e.Iterations), fmt.Sprintf("%s: loss %.3g, was %.3g", trainingName(e), e.Loss, e.Before))
		case tune.Predicted:
			b.mail.fact(func(s *state) { s.tune.predicted = e.Front })
		case tune.Explained:
			b.mail.fact(func(s *state) { s.tune.explained = e })
		}
	}
}

// pause holds the search at its next event, or lets it go on. A trial that is
// being timed is not held before its figures are known.
func (b *backend) pause() {
	if b.jobs.running() != "tuning" {
		b.mail.fact(func(s *state) { s.say("nothing is running that could pause") })
		return
	}
	paused := b.gate.toggle()
	b.mail.fact(func(s *state) { s.job.paused = paused })
}

func (b *backend) use(t tune.Trial) {
	b.start("quantizing", func(ctx context.Context) error {
		if err := b.floatReady(); err != nil {
			return err
		}
		return b.useTrial(ctx, t)
	})
}

func (b *backend) send(text string, useFloat, fresh bool) {
	b.start("answering", func(ctx context.Context) error {
		if err := b.ready(); err != nil {
			return err
		}
		m := b.base
		if b.int4 != nil && !useFloat {
			m = b.int4
		}
		if b.talk == nil || b.talkOf != m || fresh {
			talk, err := rt.NewChat(m, "")
			if err != nil {
				return err
			}
			b.talk, b.talkOf = talk, m
		}
		b.mail.fact(func(s *state) {
			s.chat.busy, s.chat.fresh = true, false
			s.chat.turns = append(s.chat.turns, chatTurn{user: text, model: s.activeModel(), pending: true})
		})
		o, _ := rt.DefaultOptions(b.ck.Generation) // whose notes the model's page shows
		o.Seed = rt.RandomSeed()
		turn, err := b.talk.Send(ctx, text, o, func(part string) {
			b.mail.fact(func(s *state) {
				last := &s.chat.turns[len(s.chat.turns)-1]
				last.answer += term.Clean(part)
			})
		})
		if err != nil {
			return err
		}
		used, limit := b.talk.Context()
		b.mail.fact(func(s *state) {
			last := &s.chat.turns[len(s.chat.turns)-1]
			last.stats = fmt.Sprintf("%d tokens, %s tokens/s, first after %s, ended by: %s", turn.Tokens, term.Digits(turn.DecodeTPS), term.Duration(turn.FirstToken), turn.StopReason)
			for _, n := range turn.Notes {
				last.stats += "; " + term.CleanLine(n)
			}
			last.pending = false
			s.chat.used, s.chat.limit = used, limit
		})
		return nil
	})
}
