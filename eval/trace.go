package eval

import (
	"context"
	"fmt"

	rt "nibble/runtime"
)

// Step is what two models say at one position of a text.
type Step struct {
	Token    Guess   // the one that follows in the text
	KLD      float64 // of the model from the base
	Says     []Guess // the model's likeliest, the likeliest first
	BaseSays []Guess
}

// Trace runs a text through two models of one vocabulary and compares what they say
// before each of its tokens from the given one on; that is not the first, before which
// nothing is said.
func Trace(ctx context.Context, base, m *rt.Model, ids []int32, from int) (steps []Step, err error) {
	if from < 1 || from > len(ids) {
		return nil, fmt.Errorf("a text of %d tokens cannot be compared from token %d on", len(ids), from)
	}
	err = base.Guard(func() error {
		return m.Guard(func() error {
			steps, err = trace(ctx, base, m, ids, from)
			return err
		})
	})
	return steps, err
}

func trace(ctx context.Context, base, m *rt.Model, ids []int32, from int) ([]Step, error) {
	if from == len(ids) {
		return nil, nil
	}
	said := func(m *rt.Model) ([]float32, error) {
		hidden, err := m.NewSession(0).Forward(ctx, ids[:len(ids)-1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		return hidden, nil
	}
	own, err := said(m)
	if err != nil {
		return nil, err
	}
	float, err := said(base)
	if err != nil {
		return nil, err
	}
	acts, vocab := m.Engine.NewActs(), m.Config.Vocab
	c := candidates{m, make([]float32, vocab), make([]float32, vocab)}
	var steps []Step
	for at := from; at < len(ids); at++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, bh := m.Config.Hidden, base.Config.Hidden
		m.Logits(acts, c.own, own[(at-1)*h:at*h], 1)
		base.Logits(acts, c.base, float[(at-1)*bh:at*bh], 1)
		p := comparePosition(m.Engine, c.own, c.base, ids[at])
		if !finite(p.kld) {
			return nil, fmt.Errorf("%s: %w", m.Name, ErrNotFinite)
		}
		steps = append(steps, Step{c.guess(ids[at]), p.kld, c.likeliest(c.own), c.likeliest(c.base)})
	}
	return steps, nil
}

// Clean returns the step with its texts passed through f.
func (s Step) Clean(f func(string) string) Step {
	t := WorstToken{Token: s.Token, Says: s.Says, BaseSays: s.BaseSays}.Clean(f)
	s.Token, s.Says, s.BaseSays = t.Token, t.Says, t.BaseSays
	return s
}
