package solve

import (
	"fmt"
	"math"
	"strings"

	"nibble/quant"
	"nibble/tune/space"
)

// Choice is how one matrix is stored, and why.
type Choice struct {
	Matrix string  `json:"matrix"`
	Spec   string  `json:"spec"`
	Bytes  int64   `json:"bytes"`
	KLD    float64 `json:"kld"`            // that it is expected to add
	Down   *Step   `json:"down,omitempty"` // the next smaller option worth taking
	Up     *Step   `json:"up,omitempty"`   // the next larger one
	Why    string  `json:"why"`            // in words
}

// Step is what another option would change.
type Step struct {
	Spec  string  `json:"spec"`
	Bytes int64   `json:"bytes"` // more, or less if negative
	KLD   float64 `json:"kld"`
}

// Explain says why every matrix of a recipe is stored as it is, in the order of the
// model; goal tells whether the recipe was chosen for a goal, and not for limits. It
// is nil for a recipe that uses what was not offered.
func (p Problem) Explain(r quant.Recipe, goal bool) []Choice {
	pick, ok := p.PickOf(r)
	if !ok {
		return nil
	}
	whole := p.Sum(pick) // before it was refined, if it was: the shares are the same
	next := 0.0          // the most that a byte more would save, of all matrices
	for i, j := range pick {
		if to := up(p.Classes[i], j); to >= 0 {
			next = max(next, rate(p.Classes[i], j, to))
		}
	}
	choices := map[string]Choice{}
	for i, j := range pick {
		c := p.Classes[i]
		for k, m := range c.Matrices {
			at := c.Options[j].Parts[k]
			step := func(to int) *Step {
				if to < 0 {
					return nil
				}
				o := c.Options[to].Parts[k]
				return &Step{Spec: c.Options[to].Spec.String(), Bytes: o.Bytes - at.Bytes, KLD: o.KLD - at.KLD}
			}
			x := Choice{Matrix: m.Name, Spec: r.For(m).String(), Bytes: at.Bytes, KLD: at.KLD, Down: step(down(c, j)), Up: step(up(c, j))}
			x.Why = x.words(whole, next, goal, len(c.Matrices) > 1)
			choices[m.Name] = x
		}
	}
	var out []Choice
	for _, m := range p.Config.Modules() {
		out = append(out, choices[m.Name])
	}
	return out
}

// rate is what a byte of the way from one option to a larger one saves in
// divergence.
func rate(c space.Class, from, to int) float64 {
	a, b := c.Options[from], c.Options[to]
	return (a.KLD - b.KLD) / float64(b.Bytes-a.Bytes)
}

// up returns the larger option that saves most for a byte, -1 if none saves any.
func up(c space.Class, at int) int {
	best := -1
	for j, o := range c.Options {
		if o.Bytes > c.Options[at].Bytes && o.KLD < c.Options[at].KLD && (best < 0 || rate(c, at, j) > rate(c, at, best)) {
			best = j
		}
	}
	return best
}

// down returns the smaller option that loses least for a byte, -1 if there is none.
func down(c space.Class, at int) int {
	best := -1
	for j, o := range c.Options {
		if o.Bytes < c.Options[at].Bytes && (best < 0 || rate(c, j, at) < rate(c, best, at)) {
			best = j
		}
	}
	return best
}

// words explains a choice; next is what a byte saves where it saves most.
func (x Choice) words(whole, next float64, goal, together bool) string {
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
	if together {
		b.WriteString("; decided together with other matrices: those that read the same inputs, or the other experts of the layer")
	}
	return b.String()
}
