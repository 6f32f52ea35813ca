package eval

import (
	"context"
	"fmt"
	"slices"

	rt "nibble/runtime"
)

// Reference is the float side of a comparison, computed once and used by any
// number of trials. It keeps final hidden states, not logits: a hundredth of the
// size, and exact.
type Reference struct {
	Model   *rt.Model
	options Options
	windows [][]int32
	hidden  [][]float32 // by window: the scored half's hidden states
	tasks   []taskScores
	Result  Result // the reference model's own figures
}

// NewReference measures the base model.
func NewReference(ctx context.Context, base *rt.Model, o Options, l Listener) (*Reference, error) {
	ref := &Reference{Model: base, options: o}
	windows, err := o.chunks(base)
	if err != nil {
		return nil, err
	}
	ref.windows = windows
	ref.Result.describe(o, windows)
	s := newScorer(base)
	p := newProgress(l, "reference", windows)
	var nll moments
	for i, w := range windows {
		hidden, err := s.hidden(ctx, w)
		if err != nil {
			return nil, err
		}
		scored, targets := scoredHalf(hidden, w, base.Config.Hidden)
		ref.hidden = append(ref.hidden, slices.Clone(scored))
		if err := nll.addLosses(s.score(scored, targets)); err != nil {
			return nil, fmt.Errorf("%s, window %d: %w", base.Name, i+1, explain(ctx, base, err))
		}
		p.step(nll, moments{})
	}
	if len(windows) > 0 {
		ref.Result.setPerplexity(nll)
	}
	for _, set := range o.Tasks {
		scores, err := scoreTasks(ctx, s, set, l)
		if err != nil {
			return nil, err
		}
		ref.tasks = append(ref.tasks, scores)
		ref.Result.Tasks = append(ref.Result.Tasks, set.results(scores, nil)...)
	}
	return ref, nil
}

// accepts reports why a model cannot be compared with the reference.
func (ref *Reference) accepts(m *rt.Model) error {
	base := ref.Model
	if m.Config.VocabSize != base.Config.VocabSize {
		return fmt.Errorf("%w: %s has a vocabulary of %d tokens, %s of %d", ErrMismatch, m.Name, m.Config.VocabSize, base.Name, base.Config.VocabSize)
	}
	if len(ref.windows) == 0 || m.Tok == base.Tok {
		return nil
	}
	if n := len(ref.windows[0]); n > m.Config.MaxPositions {
		return fmt.Errorf("%w: windows have %d tokens, %s holds %d: give a smaller --ctx", ErrMismatch, n, m.Name, m.Config.MaxPositions)
	}
	o := ref.options
	o.Ctx = len(ref.windows[0])
	windows, err := o.chunks(m)
	if err != nil {
		return err
	}
	if !slices.EqualFunc(windows, ref.windows, slices.Equal[[]int32]) {
		return fmt.Errorf("%w: %s and %s cut %s into different tokens", ErrMismatch, m.Name, base.Name, o.Text.Name)
	}
	return nil
}

// scoredHalf returns the hidden states that predict the second half of a window
// and the tokens they should predict.
func scoredHalf(hidden []float32, window []int32, h int) ([]float32, []int32) {
	first := len(window) / 2
	return hidden[first*h : (len(window)-1)*h], window[first+1:]
}
