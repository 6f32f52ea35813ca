package tune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"time"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model"
	"nibble/model/source"
	"nibble/quant"
	rt "nibble/runtime"
)

// search is the state of a run.
type search struct {
	Options
	asked Record // of the run, as it was asked for
	l     Listener
	*clock
	ref    *eval.Reference
	notes  []string
	unkept bool // that the journal failed was told
	j      *journal
	known  map[string]Trial // journaled before, by recipe
	tried  map[string]int   // recipes of this run: index into trials
	trials []Trial
	built  map[string]candidate // of the trials, by recipe

	screened []quant.Spec // of the space, with stand-ins
	refiners []quant.Spec // of the space, the strongest first
	always   bool         // every recipe is refined

	classes    []class
	scores     *scores
	scoresKey  string
	fixed      int64 // bytes of the tensors that are not matrices
	header     int64 // of the weights file, about
	needs      int64 // bytes on disk of the smallest recipe, at least
	predictor  predictor
	pace       Pace       // of decoding
	evidence   []evidence // of the trials
	slowness   float64    // of the machine at present, over what plans reckon with
	saving     time.Duration
	apply      func(context.Context, *rt.Model, *model.Checkpoint, quant.Recipe, *quant.Calibration, quant.Listener) (*rt.Model, quant.Report, error)
	trying     time.Duration // a trial
	reserve    time.Duration // for refining
	deciding   time.Duration // for measuring more of the text in the end
	evaluation time.Duration // of what trials are judged by
	window     time.Duration // of that
}

// Limits that end the search.
var (
	errBudget = errors.New("budget")
	errTrials = errors.New("trials")
)

// Run searches, then saves the best. Cancelling ctx ends the search and saves
// the best so far; it is an error only if there is none.
// A run whose result is saved already, but which was killed before it could say
// so, or is asked for again, returns that result.
func Run(ctx context.Context, o Options, l Listener) (res Result, err error) {
	err = source.Guard(func() error {
		s, err := newSearch(o, l)
		if err != nil {
			return err
		}
		res, err = s.run(ctx)
		return err
	})
	return res, err
}

func newSearch(o Options, l Listener) (*search, error) {
	if o.Started.IsZero() {
		o.Started = time.Now()
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &search{Options: o, asked: newRecord(o), clock: &clock{start: o.Started}, tried: map[string]int{}, built: map[string]candidate{}, predictor: fit(nil), slowness: 1, apply: quant.ApplyCalibrated}
	s.l = s.listen(l)
	return s, s.prepare()
}

// patience is how many seconds a quantization by a method that trains may take that
// nobody asked for.
const patience = 600

// afford leaves out what takes too long for the budget: a trial and the saving,
// each a quantization, must fit what screening leaves, with room to spare. Of the
// methods that are offered for a scheme the fastest stays.
func (s *search) afford(ctx context.Context) error {
	var err error
	if s.Budget > 0 {
		if s.slowness, err = measureSlowness(ctx, s.Base.Engine); err != nil {
			return err
		}
	}
	room := func(spec quant.Spec) float64 {
		switch {
		case s.Budget > 0:
			return (1 - screenShare) * s.Budget.Seconds() / 3
		case s.defaulted && quant.StandIn(spec) != spec:
			return patience
		}
		return math.Inf(1)
	}
	seconds := make([]float64, len(s.Space))
	fastest := map[kernels.Scheme]float64{} // whatever rows have eight bits
	scheme := func(spec quant.Spec) kernels.Scheme {
		spec.Top = 0
		return spec.Scheme()
	}
	for i, spec := range s.Space {
		p, err := s.plan(uniform(s.Source.Config, spec))
		if err != nil {
			return err
		}
		seconds[i] = s.slowness * p.Seconds
		if t, ok := fastest[scheme(spec)]; !ok || seconds[i] < t {
			fastest[scheme(spec)] = seconds[i]
		}
	}
	var space []quant.Spec
	out := map[string]float64{} // seconds, by method
	for i, spec := range s.Space {
		if spec.Kept() || seconds[i] <= room(spec) || seconds[i] == fastest[scheme(spec)] {
			space = append(space, spec)
		} else {
			out[spec.Method] = max(out[spec.Method], seconds[i])
		}
	}
	for _, m := range slices.Sorted(maps.Keys(out)) {
		note := fmt.Sprintf("%s is left out: a quantization, which takes up to %.0f s, does not fit the budget", m, out[m])
		if s.Budget == 0 {
			note = fmt.Sprintf("%s is left out: a quantization would take about %.0f s; offer it by name, or allow so much time, to have it tried", m, out[m])
		}
		s.note(note)
	}
	if len(space) == len(s.Space) {
		return nil
	}
	s.Space = space
	return s.prepare()
}

func (s *search) run(ctx context.Context) (Result, error) {
	alive, end := context.WithCancel(context.Background()) // also while saving what a cancelled search found
	heart := s.watch(alive)
	defer func() { end(); heart.Wait() }()
	if s.Out != "" && s.Claim == nil {
		res, found, err := s.claim()
		if found || err != nil {
			return res, err
		}
		defer s.Claim.Release()
	}
	if s.Out != "" {
		if err := s.Claim.Room(s.needs); err != nil {
			return Result{}, err
		}
	}
	if err := s.openRun(); err != nil {
		return Result{}, err
	}
	defer s.j.close()
	err := s.Source.Guard(func() error { return s.search(ctx) })
	if s.ref != nil {
		defer s.ref.Close()
	}
	if s.scores != nil {
		s.scores.close()
	}
	stoppedBy := "done"
	switch {
	case errors.Is(err, source.ErrChanged):
		return Result{}, errors.Join(err, s.j.finish("error", nil))
	case ctx.Err() != nil:
		stoppedBy = "cancelled"
	case errors.Is(err, errBudget):
		stoppedBy = "budget"
	case errors.Is(err, errTrials):
		stoppedBy = "trials"
	case err != nil:
		s.journaled(s.j.finish("error", nil))
		return Result{}, err
	}
	return s.conclude(ctx, stoppedBy)
}

// prepare works out what needs no measurement, and makes sure that some recipe
// keeps the limits of size.
func (s *search) prepare() error {
	var err error
	s.split()
	if s.classes, err = newClasses(s.Source, s.screened, s.Fused); err != nil {
		return err
	}
	kept, err := quant.NewPlan(s.Source, uniform(s.Source.Config, quant.Keep))
	if err != nil {
		return err
	}
	s.fixed = tensorBytes(kept, s.Source.Params())
	for _, m := range kept.Modules {
		s.fixed -= m.Bytes
	}
	smallest, err := s.least()
	if err != nil {
		return err
	}
	s.needs = smallest.plan.DiskBytes
	s.header = smallest.plan.SizeBytes - tensorBytes(smallest.plan, s.Source.Params())
	if !s.allowed(smallest.plan) {
		return fmt.Errorf("%w: no recipe keeps the limits: the smallest that is offered takes %.3f bits per weight, %d bytes", ErrOptions, smallest.plan.BPW, smallest.plan.SizeBytes)
	}
	return nil
}

// plan plans a recipe with the calibration of the run.
func (s *search) plan(r quant.Recipe) (quant.Plan, error) {
	return quant.PlanFor(s.Source, r, quant.PlanOptions{Calibration: s.Calibration})
}

func tensorBytes(p quant.Plan, params int64) int64 {
	return int64(math.Round(p.BPW * float64(params) / 8))
}

func (s *search) search(ctx context.Context) error {
	if err := s.reference(ctx); err != nil {
		return err
	}
	if err := s.afford(ctx); err != nil {
		return err
	}
	if err := s.speed(ctx); err != nil {
		return err
	}
	s.scoresKey = fingerprint("scores 4", quant.MethodsVersion, s.Source.Hash(), s.Eval.Text.SHA256, s.ref.Result.Ctx, spread(screenWindows, s.ref.Windows()),
		s.Calibration.SHA256, s.Calibration.Seed, s.Calibration.Samples, s.Calibration.Length)
	dir := s.CacheDir
	if dir != "" {
		dir = filepath.Join(dir, "scores")
	}
	s.scores = openScores(dir, s.scoresKey)
	err := s.screen(ctx)
	if s.scores.failed != nil {
		s.note(fmt.Sprintf("what screening measured is not kept for other runs: %v", s.scores.failed))
	}
	if err != nil {
		return err
	}
	s.l.send(Predicted{s.front()})
	s.deciding = s.forDeciding()
	err = s.confirm(ctx)
	if err != nil && !errors.Is(err, errBudget) && !errors.Is(err, errTrials) {
		return err
	}
	return errors.Join(err, s.decide(ctx))
}

// referenceShare is the part of the budget that one evaluation of the whole text
// may take; of a longer text as many windows are used as fit.
const referenceShare = 0.08

// measureSlowness says how much slower the machine is at present, with all else
// that runs on it, than plans take it to be, by products of floats.
func measureSlowness(ctx context.Context, eng *kernels.Engine) (float64, error) {
	const (
		planned = 45e9 // operations a second and thread
		size    = 512
		tell    = 60 * time.Millisecond
	)
	a, b := kernels.NewMatrix(size, size), kernels.NewMatrix(size, size)
	work := 0.0
	begun := time.Now()
	for time.Since(begun) < tell {
		if err := eng.MulTransposed(ctx, b, a, a); err != nil {
			return 0, err
		}
		work += 2 * size * size * size
	}
	return max(1, time.Since(begun).Seconds()*planned*float64(eng.Threads())/work), nil
}

// reference measures the float model.
func (s *search) reference(ctx context.Context) error {
	s.l.send(Phase{"reference", "measuring the float model"})
	judge := s.Eval
	var ref *eval.Reference
	var pace time.Duration // of a window, which the cache would hide
	if s.Budget > 0 {
		one := s.Eval
		one.Chunks, one.CacheDir = 1, ""
		begun := s.elapsed()
		var err error
		if ref, err = eval.NewReference(ctx, s.Base, one, nil); err != nil {
			return err
		}
		pace = s.elapsed() - begun
		fit := max(1, int(referenceShare*float64(s.Budget)/float64(pace)))
		if judge.Chunks = s.Eval.Chunks; judge.Chunks == 0 || judge.Chunks > fit {
			judge.Chunks = fit
		}
	}
	begun := s.elapsed()
	if ref == nil || judge.Chunks != 1 {
		var err error
		if ref, err = eval.NewReference(ctx, s.Base, judge, func(e eval.Event) { s.l.send(e) }); err != nil {
			return err
		}
	}
	s.evaluation = max(s.elapsed()-begun, pace*time.Duration(ref.Windows()))
	s.window = s.evaluation / time.Duration(max(1, ref.Windows()))
	if s.Budget > 0 && ref.Windows() == judge.Chunks && judge.Chunks != s.Eval.Chunks {
		s.note(fmt.Sprintf("judged by %d of the text's windows, from the first on: more do not fit the budget", judge.Chunks))
	}
	s.ref = ref
	s.l.send(ReferenceDone{ref.Result.PPL, ref.Result.PPLSE, s.Source.Bytes(), s.Goal})
	return nil
}

// judge gives the verdict about the best trial and says what would help. A search
// that was ended before it was done has not shown that nothing reaches the goal.
func (s *search) judge(res *Result) {
	best := *res.Best
	res.Verdict, res.Windows, res.WindowsInText = best.Verdict(s.Goal), best.Windows, best.WindowsInText
	res.Reached = res.Word == eval.Reached
	if res.Word != eval.Missed {
		return
	}
	res.Advice = s.advice(best)
	if more, ended := map[string]string{"budget": "more time", "trials": "more trials", "cancelled": "going on"}[res.StoppedBy]; ended {
		res.Word, res.Decide = eval.Undecided, more+" would decide: the search was not done, and the best so far misses the goal"
	}
}

// conclude reports, explains and saves what was found.
func (s *search) conclude(ctx context.Context, stoppedBy string) (Result, error) {
	res := Result{Trials: s.trials, StoppedBy: stoppedBy, Notes: s.notes}
	res.Goal = s.Goal
	if s.ref != nil {
		res.BasePPL = s.ref.Result.PPL
	}
	if len(s.trials) == 0 && ctx.Err() != nil {
		s.journaled(s.j.finish(stoppedBy, nil))
		return res, ctx.Err()
	}
	res.Front, res.Best = Front(s.trials), Best(s.trials)
	if res.Best == nil {
		s.journaled(s.j.finish("error", nil))
		return res, fmt.Errorf("every trial failed; the last: %s", s.trials[len(s.trials)-1].Note)
	}
	s.judge(&res)
	res.Choices = s.explain(*res.Best)
	s.l.send(Explained{res.Best.ID, res.Choices})
	if s.Out != "" {
		if err := s.save(&res); err != nil {
			s.journaled(s.j.finish("error", res.Choices))
			return res, err
		}
	} else if dir := s.madeOf(res.Best.Recipe); dir != "" {
		if _, err := quant.ReadReport(dir); err == nil {
			res.Made = dir
		}
	}
	res.Seconds = s.elapsed().Seconds()
	s.journaled(s.j.finish(stoppedBy, res.Choices))
	res.Notes = s.notes
	return res, nil
}
