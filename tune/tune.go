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
	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
)

// search is the state of a run.
type search struct {
	Options
	asked  Record // of the run, as it was asked for
	l      Listener
	start  time.Time
	ref    *eval.Reference
	notes  []string
	j      *journal
	known  map[string]Trial // journaled before, by recipe
	tried  map[string]int   // recipes of this run: index into trials
	trials []Trial

	classes    []class
	scores     *scores
	scoresKey  string
	fixed      int64 // bytes of the tensors that are not matrices
	header     int64 // of the weights file, about
	predictor  predictor
	float      evidence   // speed of the float model
	picks      [][]int    // of the trials that evidence is of
	evidence   []evidence // sums are worked out anew when the factors change
	slower     float64    // ns that decoding took longer than predicted where the speed was missed
	saving     time.Duration
	apply      func(context.Context, *rt.Model, *model.Checkpoint, quant.Recipe, *quant.Calibration, quant.Listener) (*rt.Model, quant.Report, error)
	trying     time.Duration // a trial
	evaluation time.Duration // of the whole text
	seen       bool          // inContext has measured
}

// Limits that end the search.
var (
	errBudget = errors.New("budget")
	errTrials = errors.New("trials")
)

// Run searches, then saves the best. Cancelling ctx ends the search and saves
// the best so far; it is an error only if there is none.
func Run(ctx context.Context, o Options, l Listener) (Result, error) {
	s, err := newSearch(o, l)
	if err != nil {
		return Result{}, err
	}
	return s.run(ctx)
}

func newSearch(o Options, l Listener) (*search, error) {
	start := time.Now()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &search{Options: o, asked: newRecord(o), l: l, start: start, tried: map[string]int{}, predictor: fit(nil), apply: quant.ApplyCalibrated}
	if err := s.afford(); err != nil {
		return nil, err
	}
	return s, s.prepare()
}

// afford leaves out methods that are too slow for the budget: a trial and the
// saving, each a quantization, must fit what screening leaves, with room to spare.
// Of what is offered the fastest stays.
func (s *search) afford() error {
	if s.Budget == 0 {
		return nil
	}
	room := (1 - screenShare) * s.Budget.Seconds() / 3
	seconds := map[string]float64{}
	fastest := ""
	for _, spec := range s.Space {
		p, err := quant.NewPlan(s.Source, uniform(s.Source.Config, spec))
		if err != nil {
			return err
		}
		seconds[spec.Method] = max(seconds[spec.Method], p.Seconds)
	}
	for m, t := range seconds {
		if m != "" && (fastest == "" || t < seconds[fastest] || t == seconds[fastest] && m < fastest) {
			fastest = m
		}
	}
	var space []quant.Spec
	for _, spec := range s.Space {
		if spec.Kept() || spec.Method == fastest || seconds[spec.Method] <= room {
			space = append(space, spec)
		}
	}
	for _, m := range slices.Sorted(maps.Keys(seconds)) {
		if m != "" && m != fastest && seconds[m] > room {
			s.notes = append(s.notes, fmt.Sprintf("%s is left out: about %.0f s a quantization do not fit the budget", m, seconds[m]))
		}
	}
	s.Space = space
	return nil
}

func (s *search) run(ctx context.Context) (Result, error) {
	var err error
	if s.j, s.known, err = openJournal(s.RunDir, s.asked); err != nil {
		return Result{}, err
	}
	err = s.search(ctx)
	if s.ref != nil {
		defer s.ref.Close()
	}
	if s.scores != nil {
		s.scores.close()
	}
	stoppedBy := "done"
	switch {
	case ctx.Err() != nil:
		stoppedBy = "cancelled"
	case errors.Is(err, errBudget):
		stoppedBy = "budget"
	case errors.Is(err, errTrials):
		stoppedBy = "trials"
	case err != nil:
		return Result{}, errors.Join(err, s.j.finish("error", nil))
	}
	return s.conclude(ctx, stoppedBy)
}

// prepare works out what needs no measurement, and makes sure that some recipe
// keeps the limits of size.
func (s *search) prepare() error {
	var err error
	if s.classes, err = newClasses(s.Source, s.Space, s.Fused); err != nil {
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
	s.header = smallest.plan.SizeBytes - tensorBytes(smallest.plan, s.Source.Params())
	if !s.allowed(smallest.plan) {
		return fmt.Errorf("%w: no recipe keeps the limits: the smallest that is offered takes %.3f bits per weight, %d bytes", ErrOptions, smallest.plan.BPW, smallest.plan.SizeBytes)
	}
	return nil
}

func tensorBytes(p quant.Plan, params int64) int64 {
	return int64(math.Round(p.BPW * float64(params) / 8))
}

func (s *search) search(ctx context.Context) error {
	if err := s.reference(ctx); err != nil {
		return err
	}
	if err := s.speed(ctx); err != nil {
		return err
	}
	s.scoresKey = fingerprint("scores 2", s.Source.Hash(), s.Eval.Text.SHA256, s.ref.Result.Ctx, spread(screenWindows, s.ref.Windows()),
		s.Calibration.SHA256, s.Calibration.Seed, s.Calibration.Samples, s.Calibration.Length)
	dir := s.CacheDir
	if dir != "" {
		dir = filepath.Join(dir, "scores")
	}
	s.scores = openScores(dir, s.scoresKey)
	if err := s.screen(ctx); err != nil {
		return err
	}
	s.l.send(Predicted{s.front()})
	return s.confirm(ctx)
}

// referenceShare is the part of the budget that one evaluation of the whole text
// may take; of a longer text as many windows are used as fit.
const referenceShare = 0.08

func (s *search) reference(ctx context.Context) error {
	s.l.send(Phase{"reference", "measuring the float model"})
	judge := s.Eval
	var pace time.Duration // of a window, which the cache would hide
	if s.Budget > 0 {
		one := s.Eval
		one.Chunks, one.CacheDir = 1, ""
		start := time.Now()
		if _, err := eval.NewReference(ctx, s.Base, one, nil); err != nil {
			return err
		}
		pace = time.Since(start)
		fit := max(1, int(referenceShare*float64(s.Budget)/float64(pace)))
		if judge.Chunks = s.Eval.Chunks; judge.Chunks == 0 || judge.Chunks > fit {
			judge.Chunks = fit
		}
	}
	start := time.Now()
	ref, err := eval.NewReference(ctx, s.Base, judge, func(e eval.Event) { s.l.send(e) })
	if err != nil {
		return err
	}
	s.evaluation = max(time.Since(start), pace*time.Duration(ref.Windows()))
	if s.Budget > 0 && ref.Windows() == judge.Chunks && judge.Chunks != s.Eval.Chunks {
		s.notes = append(s.notes, fmt.Sprintf("judged by the first %d windows of the text: more do not fit the budget", judge.Chunks))
	}
	s.ref = ref
	s.l.send(ReferenceDone{ref.Result.PPL, ref.Result.PPLSE, s.Source.Bytes(), s.Goal})
	return nil
}

// conclude reports, explains and saves what was found.
func (s *search) conclude(ctx context.Context, stoppedBy string) (Result, error) {
	res := Result{Trials: s.trials, Goal: s.Goal, StoppedBy: stoppedBy, Notes: s.notes}
	if s.ref != nil {
		res.BasePPL = s.ref.Result.PPL
	}
	if len(s.trials) == 0 && ctx.Err() != nil {
		return res, errors.Join(ctx.Err(), s.j.finish(stoppedBy, nil))
	}
	res.Front, res.Best = Front(s.trials), Best(s.trials)
	if res.Best == nil {
		return res, errors.Join(fmt.Errorf("every trial failed; the last: %s", s.trials[len(s.trials)-1].Note), s.j.finish("error", nil))
	}
	res.Reached = res.Best.State == Passed || s.Goal == 0 && res.Best.State == Measured
	if !res.Reached {
		res.Advice = s.advice(*res.Best)
	}
	res.Choices = s.explain(*res.Best)
	s.l.send(Explained{res.Best.ID, res.Choices})
	if s.Out != "" {
		if err := s.save(&res); err != nil {
			return res, errors.Join(err, s.j.finish("error", res.Choices))
		}
	}
	res.Seconds = time.Since(s.start).Seconds()
	return res, s.j.finish(stoppedBy, res.Choices)
}

// save writes the best model. It is not cancelled with the search: the point of
// cancelling is to keep what was found.
func (s *search) save(res *Result) error {
	s.l.send(Phase{"saving", "writing the best model"})
	evaluation := map[string]any{"text": s.Eval.Text.Name, "text_sha256": s.Eval.Text.SHA256, "ctx": s.ref.Result.Ctx, "goal": s.Goal,
		"trial": res.Best, "base_ppl": res.BasePPL, "choices": res.Choices, "notes": res.Notes}
	_, err := quant.Run(context.Background(), quant.Options{Engine: s.Base.Engine, Source: s.Source, Recipe: res.Best.Recipe, Out: s.Out,
		Calibration: s.Calibration, Evaluation: evaluation, Restart: true}, func(e quant.Event) { s.l.send(e) })
	if err != nil {
		return err
	}
	res.Path = s.Out
	s.l.send(Saved{s.Out})
	return nil
}
