package tune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"nibble/eval"
	"nibble/model/output"
	"nibble/model/source"
	"nibble/quant"
	rt "nibble/runtime"
)

// The search for the goal ends after so many trials, or when what passed is so
// little larger than what missed.
const (
	maxConfirm = 6
	closeness  = 0.01
)

// confirm measures recipes of the predicted front.
func (s *search) confirm(ctx context.Context) error {
	s.reserve = s.refining()
	err := s.firstly(ctx)
	if errors.Is(err, errBudget) && s.reserve > 0 || err == nil {
		s.reserve = 0
		err = s.refine(ctx)
	}
	if err != nil {
		return err
	}
	s.l.send(Phase{"front", "smaller and larger recipes"})
	return s.extend(ctx)
}

// firstly finds the best that is not refined.
func (s *search) firstly(ctx context.Context) error {
	s.l.send(Phase{"tuned", "recipes of the predicted front, measured"})
	if s.Goal == 0 {
		return s.settle(ctx)
	}
	if err := s.reach(ctx, s.always, maxConfirm); err != nil {
		return err
	}
	if err := s.compare(ctx); err != nil {
		return err
	}
	return s.descend(ctx)
}

// reach looks for the smallest recipe within the goal, refined or not: between the
// largest sum of divergences that passed and the smallest that missed, where the
// predictor expects the goal.
func (s *search) reach(ctx context.Context, refined bool, tries int) error {
	var pass, miss []int // picks
	for range tries {
		sum := s.aim(refined)
		low, high := s.sum(pass), s.sum(miss)
		switch {
		case pass != nil && miss != nil:
			sum = max(low+0.1*(high-low), min(high-0.1*(high-low), sum))
		case pass != nil:
			sum = max(1.05*low, sum)
		case miss != nil:
			sum = min(0.9*high, sum)
		}
		c, err := s.smallest(sum)
		capped := errors.Is(err, errLimits)
		if capped {
			c, err = s.mostAccurate()
		}
		if errors.Is(err, errLimits) && len(s.trials) == 0 {
			return fmt.Errorf("%w: %w", ErrOptions, err)
		} else if errors.Is(err, errLimits) {
			return nil
		} else if err != nil {
			return err
		}
		phase := "tuned"
		if refined && !s.always {
			phase = "refined"
			if c, err = s.build(c.pick, true); err != nil {
				return err
			}
		}
		if _, done := s.tried[c.recipe.String()]; done {
			return nil
		}
		t, err := s.try(ctx, phase, c)
		if err != nil {
			return err
		}
		if t.passed() {
			pass = c.pick
		} else {
			miss = c.pick
			if capped {
				return nil
			}
		}
		if pass != nil && miss != nil && math.Abs(float64(s.bytes(pass)-s.bytes(miss))) < closeness*float64(s.bytes(pass)) {
			return nil
		}
	}
	return nil
}

// aim is the sum of divergences at which the goal is predicted to be reached for
// sure, refined or not.
func (s *search) aim(refined bool) float64 {
	return s.predictorOf(refined).provable(s.Goal, s.ref.Result.Tokens)
}

// hopeful is how far beyond the goal a uniform recipe may be predicted and still be
// tried.
const hopeful = 1.5

// compare tries uniform recipes that are smaller than what passed: perplexity
// scatters around what the divergence predicts, and what is simple should not be
// missed.
func (s *search) compare(ctx context.Context) error {
	s.l.send(Phase{"uniform", "smaller recipes that store all matrices alike"})
	for _, spec := range s.screened {
		if spec.Kept() {
			continue
		}
		pick, ok := s.pickOf(uniform(s.Source.Config, spec))
		if !ok {
			continue
		}
		c, err := s.candidate(pick)
		if err != nil {
			return err
		}
		best := Best(s.trials)
		if _, done := s.tried[c.recipe.String()]; done || !s.within(c) || best != nil && best.passed() && c.plan.SizeBytes >= best.SizeBytes || s.predictor.loss(c.sum) > hopeful*s.Goal {
			continue
		}
		if _, err := s.try(ctx, "uniform", c); err != nil {
			return err
		}
	}
	return nil
}

// descend takes bytes off the best that passed, where they lose least: at first as
// many as its own distance from the goal allows, then, after a miss, fewer.
func (s *search) descend(ctx context.Context) error {
	for n, share := 0, 1.0; n < maxDescend; n++ {
		best := Best(s.trials)
		if best == nil || !best.passed() {
			return nil
		}
		pick, ok := s.pickOf(best.Recipe)
		if !ok {
			return nil
		}
		more := 0.8 * (math.Log1p(s.Goal) - math.Log(best.PPLRatio+eval.SureErrors*best.PPLRatioSE)) / s.predictor.slope
		c, err := s.smaller(pick, s.predictor.inverse(s.predictor.kld(s.sum(pick))+more), 0)
		if err == nil && share < 1 {
			saved := float64(s.bytes(pick) - s.bytes(c.pick))
			c, err = s.smaller(pick, 0, s.bytes(pick)-int64(share*saved))
		}
		if err != nil {
			return err
		}
		if _, done := s.tried[c.recipe.String()]; done || c.plan.SizeBytes >= best.SizeBytes {
			return nil
		}
		t, err := s.try(ctx, "tuned", c)
		if err != nil {
			return err
		}
		if !t.passed() {
			share /= 4
		}
	}
	return nil
}

const maxDescend = 4

// settle looks for the most accurate recipe within the limits: what the trials
// teach may change the choice.
func (s *search) settle(ctx context.Context) error {
	for range maxConfirm {
		c, err := s.mostAccurate()
		if errors.Is(err, errLimits) {
			if len(s.trials) == 0 {
				return fmt.Errorf("%w: %w", ErrOptions, err)
			}
			return nil
		} else if err != nil {
			return err
		}
		if _, done := s.tried[c.recipe.String()]; done {
			return nil
		}
		if _, err := s.try(ctx, "tuned", c); err != nil {
			return err
		}
	}
	return nil
}

// extend measures a few more points of the front, around the best.
func (s *search) extend(ctx context.Context) error {
	best := Best(s.trials)
	if best == nil {
		return nil
	}
	pick, ok := s.pickOf(best.Recipe)
	if !ok {
		return nil
	}
	at := s.sum(pick)
	for _, times := range []float64{0.3, 3} {
		c, err := s.smallest(times * at)
		if errors.Is(err, errLimits) {
			continue
		} else if err != nil {
			return err
		}
		if _, done := s.tried[c.recipe.String()]; done {
			continue
		}
		if _, err := s.try(ctx, "front", c); err != nil {
			return err
		}
	}
	return nil
}

// sum adds up the divergences of a pick, 0 for none.
func (s *search) sum(pick []int) float64 {
	sum := 0.0
	for i, j := range pick {
		sum += s.classes[i].kld(j)
	}
	return sum
}

// bytes adds up what the matrices of a pick take.
func (s *search) bytes(pick []int) int64 {
	n := int64(0)
	for i, j := range pick {
		n += s.classes[i].options[j].bytes
	}
	return n
}

// pickOf finds the options of a recipe; ok is false if it uses others.
func (s *search) pickOf(r quant.Recipe) (pick []int, ok bool) {
	for _, c := range s.classes {
		at := -1
		m := c.modules[0]
		is := comesTo(m, r.For(m))
		in := comesTo(m, quant.StandIn(r.For(m)))
		for j, o := range c.options {
			switch of := comesTo(m, o.spec); {
			case of == is:
				at = j
			case is != in && of.Scheme() == in.Scheme() && (at < 0 || c.kld(j) < c.kld(at)): // what the solver would have refined
				at = j
			}
		}
		if at < 0 {
			return nil, false
		}
		pick = append(pick, at)
	}
	return pick, true
}

// learn fits the predictor to the trials so far.
func (s *search) learn() {
	var all []evidence
	for _, e := range s.evidence {
		if !e.refined || s.always {
			all = append(all, e)
		}
	}
	s.predictor = fit(all)
}

// left is how much of the budget is left for trials, saving excepted.
func (s *search) left() time.Duration {
	if s.Budget == 0 {
		return math.MaxInt64
	}
	return s.Budget - s.elapsed() - s.saving - s.reserve - s.deciding
}

// try measures a candidate, or recalls it. It is not begun when it cannot end in
// time, unless there is nothing yet.
func (s *search) try(ctx context.Context, phase string, c candidate) (*Trial, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.saving == 0 { // first guesses
		quantizing := time.Duration(s.slowness * c.plan.Seconds * float64(time.Second))
		s.saving = s.savingOf(c, quantizing)
		s.trying = saving(c.plan, quantizing) + s.evaluation*3/2
	}
	p := s.predict(c)
	t := Trial{ID: len(s.trials) + 1, Phase: phase, Recipe: c.recipe, State: Running, SizeBytes: c.plan.SizeBytes, BPW: c.plan.BPW, DecodeTPS: p.DecodeTPS, Predicted: &p}
	old, recalled := s.known[c.recipe.String()]
	recalled = recalled && (old.State == Stopped || old.Windows >= s.ref.Windows())
	switch {
	case s.MaxTrials > 0 && len(s.trials) >= s.MaxTrials:
		return nil, errTrials
	case !recalled && len(s.trials) == 0 && s.left() < s.saving: // never nothing
		t.State, t.Note = Untested, "there was no time to measure it"
		t.PPLRatio, t.KLD = 1+p.Loss, p.KLD
		s.l.send(TrialStarted{t})
		s.record(t, c)
		return nil, errBudget
	case !recalled && len(s.trials) > 0 && s.left() < s.trying: // the first stops when it must
		return nil, errBudget
	}
	s.l.send(TrialStarted{t})
	if recalled {
		old.ID, old.Phase, old.Predicted, old.DecodeTPS = t.ID, phase, t.Predicted, t.DecodeTPS
		t = s.judged(old)
	} else {
		begun := s.elapsed()
		if err := s.measure(ctx, &t, c); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if errors.Is(err, errBudget) {
				return nil, err
			}
			if errors.Is(err, quant.ErrNotFinite) || errors.Is(err, source.ErrChanged) {
				return nil, err // every trial would fail
			}
			t.State, t.Note = Failed, err.Error()
		}
		took := s.elapsed() - begun
		t.Seconds = took.Seconds()
		s.trying = took * 11 / 10
		s.journaled(s.j.add(t))
	}
	s.record(t, c)
	return &s.trials[len(s.trials)-1], nil
}

// record takes a trial in and learns from it.
func (s *search) record(t Trial, c candidate) {
	s.tried[c.recipe.String()], s.built[c.recipe.String()] = len(s.trials), c
	s.trials = append(s.trials, t)
	if t.KLD > 0 && t.State != Failed && t.State != Untested {
		s.evidence = append(s.evidence, evidence{sum: c.sum, kld: t.KLD, ln: math.Log(t.PPLRatio), lnSE: t.PPLRatioSE / t.PPLRatio, refined: c.refined})
		s.learn()
	}
	s.tidy()
	s.l.send(TrialDone{t, Best(s.trials), Front(s.trials)})
	s.l.send(Predicted{s.front()})
}

// hopeless is how many standard errors beyond the goal end a trial early.
const hopeless = 4

// applied quantizes, no longer than there is time if there is something to save
// already. Training takes long: it is told of, and what it makes is kept. done ends
// the use of the model.
func (s *search) applied(ctx context.Context, c candidate) (m *rt.Model, done func(), err error) {
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	listen := func(e quant.Event) {
		if c.refined {
			s.l.send(e)
		}
		if len(s.trials) > 0 && s.left() < 0 {
			cancel(errBudget)
		}
	}
	kept := s.keeps(c)
	if kept {
		m, done, err = s.make(limited, c.recipe, listen)
		if kept = !errors.Is(err, output.ErrDisk) && !errors.Is(err, output.ErrUnwritable); !kept {
			s.journaled(err)
		}
	}
	if !kept {
		done = func() {}
		m, _, err = s.apply(limited, s.Base, s.Source, c.recipe, s.Calibration, listen)
	}
	if err != nil && context.Cause(limited) == errBudget {
		err = errBudget
	}
	return m, done, err
}

func (s *search) measure(ctx context.Context, t *Trial, c candidate) error {
	begun := s.elapsed()
	m, done, err := s.applied(ctx, c)
	if err != nil {
		return err
	}
	defer done()
	s.saving = max(s.saving, s.savingOf(c, s.elapsed()-begun))
	total, late := s.ref.Windows(), false
	res, err := eval.Run(ctx, m, s.ref, eval.Options{}, func(e eval.Event) {
		if p, ok := e.(eval.Progress); ok {
			t.Windows = p.Done
		}
	}, func(r eval.Result) bool {
		s.l.send(TrialProgress{t.ID, t.Windows, total, r.PPLRatio, r.PPLRatioSE, r.KLDMean})
		if t.Windows == total {
			return false
		}
		late = s.left() < 0
		return late || s.Goal > 0 && (t.Phase == "tuned" || t.Phase == "refined") && t.Windows >= 4 && r.PPLRatio-hopeless*r.PPLRatioSE > 1+s.Goal
	})
	stopped := errors.Is(err, eval.ErrStopped)
	if err != nil && !stopped {
		return err
	}
	t.take(res)
	if stopped {
		t.State, t.Note = Stopped, fmt.Sprintf("stopped after %d of %d windows: %d standard errors beyond the goal", t.Windows, total, hopeless)
		if late {
			t.Note = fmt.Sprintf("stopped after %d of %d windows: out of time", t.Windows, total)
		}
		return nil
	}
	*t = s.judged(*t)
	return nil
}

// saving is how long writing a model is expected to take after quantizing it in
// memory took so long.
func saving(p quant.Plan, took time.Duration) time.Duration {
	const written = 150e6 // bytes a second that are durable
	return took*5/4 + time.Duration(float64(p.SizeBytes)/written*float64(time.Second)) + 300*time.Millisecond
}

// savingOf is saving of a candidate: what is kept is copied.
func (s *search) savingOf(c candidate, took time.Duration) time.Duration {
	if s.keeps(c) {
		took = 0
	}
	return saving(c.plan, took)
}

// tooSlow tells of trials that are recalled: what is solved for keeps the limit.
func (s *search) tooSlow(t Trial) bool { return t.DecodeTPS < (1-1e-9)*s.MinTPS }

// judged says whether a trial measured in full reaches the goal.
func (s *search) judged(t Trial) Trial {
	if t.State == Stopped || t.State == Failed {
		return t
	}
	t.Note = ""
	switch {
	case s.tooSlow(t):
		t.State, t.Note = Missed, fmt.Sprintf("decodes about %.4g tokens a second, %.4g are asked", t.DecodeTPS, s.MinTPS)
	case s.Goal == 0:
		t.State = Measured
	default:
		t.State = State(t.evidence().Judge(s.Goal).Word)
		if t.State == Reached && t.Windows < s.windowsWanted() {
			t.State = Promising
		}
	}
	return t
}

// advice says what would reach what was missed.
func (s *search) advice(best Trial) string {
	if s.tooSlow(best) {
		return fmt.Sprintf("the best decodes about %.4g tokens a second, %.4g are asked; fewer bits or a lower speed would do", best.DecodeTPS, s.MinTPS)
	}
	text := fmt.Sprintf("the best trial loses %.2f %%, the goal is %.2f %%", 100*best.Loss(), 100*s.Goal)
	if !s.limited() {
		return text + ": what is offered does not reach it; offer more (keep, 8 bits) or allow a larger loss"
	}
	free := *s
	free.MaxBPW, free.MaxBytes, free.MinTPS, free.MaxRSS = 0, 0, 0, 0
	c, err := free.smallest(s.aim(len(s.refiners) > 0))
	if err != nil {
		return text + ": nothing that is offered is predicted to reach it"
	}
	need := fmt.Sprintf("; it needs about %.2f bpw, %d bytes", c.plan.BPW, c.plan.SizeBytes)
	if tps := s.pace.tps(c.ns); s.MinTPS > 0 && tps > 0 {
		need += fmt.Sprintf(", which decodes about %.4g tokens a second", tps)
	}
	switch {
	case s.MaxBPW > 0:
		need += fmt.Sprintf("; you asked for %.4g bpw", s.MaxBPW)
	case s.MaxBytes > 0:
		need += fmt.Sprintf("; you asked for %d bytes", s.MaxBytes)
	case s.MinTPS > 0:
		need += fmt.Sprintf("; you asked for %.4g", s.MinTPS)
	case s.MaxRSS > 0:
		need += fmt.Sprintf("; you asked for %d bytes of memory", s.MaxRSS)
	}
	return text + need
}
