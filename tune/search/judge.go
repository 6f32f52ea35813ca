package search

import (
	"fmt"

	"nibble/tune/solve"
)

// tooSlow tells of trials that are recalled: what is solved for keeps the limit.
func tooSlow(t Trial, l solve.Limits) bool { return t.DecodeTPS < (1-1e-9)*l.TPS }

// Judge says whether a trial measured in full reaches the goal.
func (w Policy) Judge(t Trial, l solve.Limits) Trial {
	if t.State == Stopped || t.State == Failed {
		return t
	}
	t.Note = ""
	switch {
	case tooSlow(t, l):
		t.State, t.Note = Missed, fmt.Sprintf("decodes about %.4g tokens a second, %.4g are asked", t.DecodeTPS, l.TPS)
	case w.Goal == 0:
		t.State = Measured
	default:
		t.State = State(t.evidence().Judge(w.Goal).Word)
		if t.State == Reached && t.Windows < w.Windows {
			t.State = Promising
		}
	}
	return t
}

// Open returns the index of the best trial if more of the text would decide whether
// it reaches the goal, else -1.
func (w Policy) Open(e Evidence) int {
	if w.Goal == 0 {
		return -1
	}
	best := bestOf(e.Trials())
	if best >= 0 && e[best].State != Promising && e[best].State != Undecided && e[best].State != Stopped {
		return -1
	}
	return best
}

// Advice says what would reach what the best trial missed.
func (w Policy) Advice(p solve.Problem, e Evidence, best Trial) string {
	l := p.Limits
	if tooSlow(best, l) {
		return fmt.Sprintf("the best decodes about %.4g tokens a second, %.4g are asked; fewer bits or a lower speed would do", best.DecodeTPS, l.TPS)
	}
	text := fmt.Sprintf("the best trial loses %.2f %%, the goal is %.2f %%", 100*best.Loss(), 100*w.Goal)
	if !l.Any() {
		return text + ": what is offered does not reach it; offer more (keep, 8 bits) or allow a larger loss"
	}
	c, err := p.With(solve.Limits{}).Smallest(w.aim(Learn(e, p.Offer.Always), len(p.Offer.Refiners) > 0))
	if err != nil {
		return text + ": nothing that is offered is predicted to reach it"
	}
	need := fmt.Sprintf("; it needs about %.2f bpw, %d bytes", c.Plan.BPW, c.Plan.SizeBytes)
	if tps := p.Pace.TPS(c.NS); l.TPS > 0 && tps > 0 {
		need += fmt.Sprintf(", which decodes about %.4g tokens a second", tps)
	}
	switch {
	case l.BPW > 0:
		need += fmt.Sprintf("; you asked for %.4g bpw", l.BPW)
	case l.Bytes > 0:
		need += fmt.Sprintf("; you asked for %d bytes", l.Bytes)
	case l.TPS > 0:
		need += fmt.Sprintf("; you asked for %.4g", l.TPS)
	case l.RSS > 0:
		need += fmt.Sprintf("; you asked for %d bytes of memory", l.RSS)
	}
	return text + need
}
