package eval

import (
	"context"
	"fmt"

	rt "nibble/runtime"
)

// Windows returns how many windows the reference has.
func (ref *Reference) Windows() int { return len(ref.windows) }

// Stack embeds some of the reference's windows by m, for a walk through the
// layers that ends in Divergence: models that differ from the reference's in one
// layer need not pass the layers before it again.
func (ref *Reference) Stack(m *rt.Model, windows []int) (*rt.Stack, error) {
	var texts [][]int32
	for _, w := range windows {
		if w < 0 || w >= len(ref.windows) {
			return nil, fmt.Errorf("%w: there is no window %d of %d", ErrOptions, w, len(ref.windows))
		}
		texts = append(texts, ref.windows[w])
	}
	return m.NewStack(texts)
}

// Divergence takes a stack of the given windows through the layers that are left,
// and m's head, and returns the mean KL divergence from the reference at the
// positions that Run scores.
func (ref *Reference) Divergence(ctx context.Context, m *rt.Model, stack *rt.Stack, windows []int) (float64, error) {
	kld, err := ref.divergence(ctx, m, stack, windows)
	return kld.mean, err
}

func (ref *Reference) divergence(ctx context.Context, m *rt.Model, stack *rt.Stack, windows []int) (kld moments, err error) {
	if err := ref.accepts(m); err != nil {
		return kld, err
	}
	for stack.Layer() < m.Config.Layers() {
		if err := stack.Advance(ctx, m); err != nil {
			return kld, err
		}
	}
	s, reader, at := newScorer(m), ref.states.reader(), 0
	err = stack.Input(ctx, m, "head", func(x []float32, rows, cols int) error {
		w := windows[at]
		at++
		scored, targets := scoredHalf(x, ref.windows[w], cols)
		base, err := reader.window(w)
		if err != nil {
			return err
		}
		for _, p := range s.compare(scored, ref.Model, base, targets) {
			if !finite(p.kld) {
				return fmt.Errorf("%s, window %d: %w", m.Name, w+1, ErrNotFinite)
			}
			kld.add(p.kld)
		}
		return nil
	})
	return kld, err
}
