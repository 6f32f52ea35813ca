package search

import (
	"math"

	"nibble/tune/solve"
)

// Entry is a trial with the candidate that it is of.
type Entry struct {
	Trial
	Candidate solve.Candidate
}

// Evidence is the trials of a run in the order in which they were asked for.
type Evidence []Entry

// Trials lists the trials.
func (e Evidence) Trials() []Trial {
	var out []Trial
	for _, m := range e {
		out = append(out, m.Trial)
	}
	return out
}

// find returns the trial of a candidate's recipe.
func (e Evidence) find(c solve.Candidate) (m Entry, ok bool) {
	key := c.Key()
	for _, m := range e {
		if m.Candidate.Key() == key {
			return m, true
		}
	}
	return m, false
}

// observation is what the trial teaches; ok is false if that is nothing.
func (m Entry) observation() (o observation, ok bool) {
	if !(m.KLD > 0) || m.State == Failed || m.State == Untested {
		return o, false
	}
	return observation{sum: m.Candidate.Sum, kld: m.KLD, ln: math.Log(m.PPLRatio), lnSE: m.PPLRatioSE / m.PPLRatio, refined: m.Candidate.Refined}, true
}

// Predict says what a candidate is expected to give.
func (c Corrections) Predict(p solve.Problem, x solve.Candidate) Prediction {
	f := c.For(x.Refined)
	return Prediction{SizeBytes: x.Plan.SizeBytes, BPW: x.Plan.BPW, KLD: f.KLD(x.Sum), Loss: f.Loss(x.Sum), DecodeTPS: p.Pace.TPS(x.NS)}
}

// Front predicts the whole front, from the smallest recipe to the most accurate.
func (c Corrections) Front(p solve.Problem) []Prediction {
	var out []Prediction
	for _, x := range p.Front() {
		out = append(out, Prediction{SizeBytes: x.SizeBytes, BPW: x.BPW, KLD: c.plain.KLD(x.Sum), Loss: c.plain.Loss(x.Sum), DecodeTPS: x.TPS})
	}
	return out
}
