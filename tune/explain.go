package tune

import (
	"fmt"
	"math"
	"strings"
)

// explain says why every matrix of a trial is stored as it is.
func (s *search) explain(t Trial) []Choice {
	pick, ok := s.pickOf(t.Recipe)
	if !ok {
		return nil
	}
	whole := s.sum(pick) // before it was refined, if it was: the shares are the same
	next := 0.0          // the most that a byte more would save, of all matrices
	for i, j := range pick {
		if up := s.classes[i].up(j); up >= 0 {
			next = max(next, s.classes[i].rate(j, up))
		}
	}
	choices := map[string]Choice{}
	for i, j := range pick {
		c := s.classes[i]
		for k, m := range c.modules {
			at := c.options[j].each[k]
			step := func(to int) *Step {
				if to < 0 {
					return nil
				}
				o := c.options[to].each[k]
				return &Step{Spec: c.options[to].spec.String(), Bytes: o.bytes - at.bytes, KLD: o.alone - at.alone}
			}
			x := Choice{Module: m.Name, Spec: t.Recipe.For(m).String(), Bytes: at.bytes, KLD: at.alone, Down: step(c.down(j)), Up: step(c.up(j))}
			x.Why = x.words(whole, next, s.Goal > 0, len(c.modules) > 1)
			choices[m.Name] = x
		}
	}
	var out []Choice
	for _, m := range s.Source.Config.Modules() {
		out = append(out, choices[m.Name])
	}
	return out
}

// rate is what a byte of the way from one option to a larger one saves in
// divergence.
func (c class) rate(from, to int) float64 {
	return (c.kld(from) - c.kld(to)) / float64(c.options[to].bytes-c.options[from].bytes)
}

// up returns the larger option that saves most for a byte, -1 if none saves any.
func (c class) up(at int) int {
	best := -1
	for j, o := range c.options {
		if o.bytes > c.options[at].bytes && c.kld(j) < c.kld(at) && (best < 0 || c.rate(at, j) > c.rate(at, best)) {
			best = j
		}
	}
	return best
}

// down returns the smaller option that loses least for a byte, -1 if there is
// none.
func (c class) down(at int) int {
	best := -1
	for j, o := range c.options {
		if o.bytes < c.options[at].bytes && (best < 0 || c.rate(j, at) < c.rate(best, at)) {
			best = j
		}
	}
	return best
}

// words explains a choice; next is what a byte saves where it saves most.
func (x Choice) words(whole, next float64, goal, fused bool) string {
	var b strings.Builder
	share := 0.0
	if whole > 0 {
		share = 100 * x.KLD / whole
	}
	fmt.Fprintf(&b, "adds %.2g to the KL divergence, %.1f %% of the whole, for %d bytes", x.KLD, share, x.Bytes)
	compare := func(st Step) string {
		if next <= 0 || st.Bytes == 0 {
			return ""
		}
		times := math.Abs(st.KLD/float64(st.Bytes)) / next
		switch {
		case times > 1.005:
			return fmt.Sprintf(", %.3g times what these bytes would save elsewhere", times)
		case times < 0.995:
			return fmt.Sprintf(", %.0f %% of what these bytes would save elsewhere", 100*times)
		}
		return ": the next step to take, if more bytes were allowed"
	}
	if st := x.Down; st == nil {
		b.WriteString("; nothing smaller is offered")
	} else if st.KLD <= 0 {
		fmt.Fprintf(&b, "; %s would save %d bytes and lose nothing by itself: a limit or the rest of the choice blocks it", st.Spec, -st.Bytes)
	} else {
		fmt.Fprintf(&b, "; %s would save %d bytes and add %.2g%s", st.Spec, -st.Bytes, st.KLD, compare(*st))
	}
	if st := x.Up; st == nil {
		b.WriteString("; nothing offered is more accurate")
	} else {
		fmt.Fprintf(&b, "; %s would cost %d bytes and save %.2g%s", st.Spec, st.Bytes, -st.KLD, compare(*st))
		if goal {
			b.WriteString(", and the goal does not need it")
		} else {
			b.WriteString(", and the limit has no room for it")
		}
	}
	if fused {
		b.WriteString("; decided together with the matrices that share its inputs")
	}
	return b.String()
}
