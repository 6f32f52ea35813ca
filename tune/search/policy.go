package search

import (
	"errors"
	"math"

	"nibble/eval"
	"nibble/tune/solve"
	"nibble/tune/space"
)

// Policy decides what a search measures.
type Policy struct {
	Goal    float64 // relative increase of perplexity allowed; 0: none beside the problem's limits
	Tokens  int     // scored of what trials are judged by
	Windows int     // of the text that are to be measured in the end
}

// Stage is a part of a search. Stages follow one another.
type Stage int

// The stages.
const (
	Choosing Stage = iota // the best recipe that is not refined
	Refining              // what training layers makes of it
	Widening              // more of the front, around the best
)

// Step is a recipe to try.
type Step struct {
	Stage     Stage
	Phase     Phase
	Candidate solve.Candidate
	Beyond    float64 // a loss beyond which, for sure, measuring may end early; 0: it is measured in full
}

// Next returns the recipe to try next; ok is false if the search is done. Stages
// before over end where they would ask for more. Where no recipe at all keeps the
// limits the error is solve.ErrLimits.
func (w Policy) Next(p solve.Problem, e Evidence, over Stage) (s Step, ok bool, err error) {
	r := &replay{Policy: w, p: p, evidence: e, corrections: Learn(nil, p.Offer.Always)}
	for stage, run := range []func() error{r.choose, r.refine, r.widen} {
		err := run()
		switch {
		case errors.Is(err, errAsk) && Stage(stage) >= over:
			r.asked.Stage = Stage(stage)
			return r.asked, true, nil
		case err != nil && !errors.Is(err, errAsk):
			return s, false, err
		}
	}
	return s, false, nil
}

// replay goes through a search from its beginning. What it asks for and evidence
// has, it takes from there; where that has nothing it ends: the first recipe it
// misses is the next one to try.
type replay struct {
	Policy
	p        solve.Problem
	evidence Evidence

	seen        Evidence // what was asked for so far
	corrections Corrections
	asked       Step // that evidence has not
}

// errAsk ends a replay at a recipe that was not tried.
var errAsk = errors.New("a recipe was not tried")

// try returns the trial of a candidate.
func (r *replay) try(phase Phase, c solve.Candidate) (Trial, error) {
	m, ok := r.evidence.find(c)
	if !ok {
		r.asked = Step{Phase: phase, Candidate: c}
		if phase == Tuned || phase == Refined {
			r.asked.Beyond = r.Goal
		}
		return Trial{}, errAsk
	}
	r.seen = append(r.seen, m)
	r.corrections = Learn(r.seen, r.p.Offer.Always)
	return m.Trial, nil
}

// tried reports whether a candidate was asked for before.
func (r *replay) tried(c solve.Candidate) bool {
	_, ok := r.seen.find(c)
	return ok
}

// best is the best trial so far, nil if there is none.
func (r *replay) best() *Trial { return Best(r.seen.Trials()) }

// The search for a goal ends after so many trials, or when what passed is so little
// larger than what missed. Refined recipes take long, so that fewer are tried.
const (
	maxReach   = 6
	maxRefined = 3
	closeness  = 0.01
)

// choose finds the best recipe that is not refined.
func (r *replay) choose() error {
	if r.Goal == 0 {
		return r.settle()
	}
	if err := r.reach(r.p.Offer.Always, maxReach); err != nil {
		return err
	}
	if err := r.compare(); err != nil {
		return err
	}
	return r.descend()
}

// reach looks for the smallest recipe within the goal, refined or not: between the
// largest sum of divergences that passed and the smallest that missed, where the
// predictor expects the goal.
func (r *replay) reach(refined bool, tries int) error {
	p := r.p
	var pass, miss []int // picks
	for range tries {
		sum := r.aim(r.corrections, refined)
		low, high := p.Sum(pass), p.Sum(miss)
		switch {
		case pass != nil && miss != nil:
			sum = max(low+0.1*(high-low), min(high-0.1*(high-low), sum))
		case pass != nil:
			sum = max(1.05*low, sum)
		case miss != nil:
			sum = min(0.9*high, sum)
		}
		c, err := p.Smallest(sum)
		capped := errors.Is(err, solve.ErrLimits)
		if capped {
			c, err = p.MostAccurate()
		}
		if err != nil {
			return r.unlessTried(err)
		}
		phase := Tuned
		if refined && !p.Offer.Always {
			phase = Refined
			if c, err = p.Build(c.Pick, true); err != nil {
				return err
			}
		}
		if r.tried(c) {
			return nil
		}
		t, err := r.try(phase, c)
		if err != nil {
			return err
		}
		if t.Passed() {
			pass = c.Pick
		} else {
			miss = c.Pick
			if capped {
				return nil
			}
		}
		if pass != nil && miss != nil && math.Abs(float64(p.Bytes(pass)-p.Bytes(miss))) < closeness*float64(p.Bytes(pass)) {
			return nil
		}
	}
	return nil
}

// unlessTried takes limits that nothing keeps for an end, once there are trials.
func (r *replay) unlessTried(err error) error {
	if errors.Is(err, solve.ErrLimits) && len(r.seen) > 0 {
		return nil
	}
	return err
}

// aim is the sum of divergences at which the goal is predicted to be reached for
// sure, by recipes that are refined or are not.
func (w Policy) aim(c Corrections, refined bool) float64 {
	return c.For(refined).provable(w.Goal, w.Tokens)
}

// hopeful is how far beyond the goal a uniform recipe may be predicted and still be
// tried.
const hopeful = 1.5

// compare tries uniform recipes that are smaller than what passed: perplexity
// scatters around what the divergence predicts, and what is simple should not be
// missed.
func (r *replay) compare() error {
	p := r.p
	for _, spec := range p.Offer.Screened {
		if spec.Kept() {
			continue
		}
		pick, ok := p.PickOf(space.Uniform(p.Config, spec))
		if !ok {
			continue
		}
		c, err := p.Candidate(pick)
		if err != nil {
			return err
		}
		best := r.best()
		if r.tried(c) || !p.Within(c) || best != nil && best.Passed() && c.Plan.SizeBytes >= best.SizeBytes || r.corrections.plain.Loss(c.Sum) > hopeful*r.Goal {
			continue
		}
		if _, err := r.try(Uniform, c); err != nil {
			return err
		}
	}
	return nil
}

const maxDescend = 4

// descend takes bytes off the best that passed, where they lose least: at first as
// many as its own distance from the goal allows, then, after a miss, fewer.
func (r *replay) descend() error {
	p := r.p
	for n, share := 0, 1.0; n < maxDescend; n++ {
		best := r.best()
		if best == nil || !best.Passed() {
			return nil
		}
		pick, ok := p.PickOf(best.Recipe)
		if !ok {
			return nil
		}
		f := r.corrections.plain
		more := 0.8 * (math.Log1p(r.Goal) - math.Log(best.PPLRatio+eval.SureErrors*best.PPLRatioSE)) / f.slope
		c, err := p.SmallerWithin(pick, f.inverse(f.KLD(p.Sum(pick))+more))
		if err == nil && share < 1 {
			saved := float64(p.Bytes(pick) - p.Bytes(c.Pick))
			c, err = p.MoreAccurateWithin(pick, p.Bytes(pick)-int64(share*saved))
		}
		if err != nil {
			return err
		}
		if r.tried(c) || c.Plan.SizeBytes >= best.SizeBytes {
			return nil
		}
		t, err := r.try(Tuned, c)
		if err != nil {
			return err
		}
		if !t.Passed() {
			share /= 4
		}
	}
	return nil
}

// settle looks for the most accurate recipe within the limits: what the trials teach
// may change the choice.
func (r *replay) settle() error {
	for range maxReach {
		c, err := r.p.MostAccurate()
		if err != nil {
			return r.unlessTried(err)
		}
		if r.tried(c) {
			return nil
		}
		if _, err := r.try(Tuned, c); err != nil {
			return err
		}
	}
	return nil
}

// refine tries refined recipes: for a goal, ever smaller ones; within limits, that
// of the best.
func (r *replay) refine() error {
	if !r.p.Offer.Refines() {
		return nil
	}
	if r.Goal > 0 {
		return r.reach(true, maxRefined)
	}
	c, err := r.p.MostAccurate()
	if errors.Is(err, solve.ErrLimits) {
		return nil
	} else if err != nil {
		return err
	}
	if c, err = r.p.Build(c.Pick, true); err != nil {
		return err
	}
	if r.tried(c) {
		return nil
	}
	_, err = r.try(Refined, c)
	return err
}

// widen measures a few more points of the front, around the best.
func (r *replay) widen() error {
	best := r.best()
	if best == nil {
		return nil
	}
	pick, ok := r.p.PickOf(best.Recipe)
	if !ok {
		return nil
	}
	at := r.p.Sum(pick)
	for _, times := range []float64{0.3, 3} {
		c, err := r.p.Smallest(times * at)
		if errors.Is(err, solve.ErrLimits) {
			continue
		} else if err != nil {
			return err
		}
		if r.tried(c) {
			continue
		}
		if _, err := r.try(Around, c); err != nil {
			return err
		}
	}
	return nil
}
