package eval

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

	rt "nibble/runtime"
)

// Reference is the float side of a comparison, computed once and used by any
// number of trials. It keeps final hidden states, not logits: a hundredth of the
// size, and exact. With a cache they stay on disk, for later references too.
type Reference struct {
	Model   *rt.Model
	options Options
	windows [][]int32
	inText  int // windows that the whole text has
	states  *states
	noted   bool // that they are not kept
	tasks   []taskAnswers
	Result  Result // the reference model's own figures
}

// ReferenceStates is reported before a text goes through the reference model, or
// instead of that.
type ReferenceStates struct {
	Bytes int64  `json:"bytes"`
	Path  string `json:"path,omitempty"` // empty: they are kept in memory
	Known bool   `json:"known"`          // they were on disk already
}

// EventName implements Event.
func (ReferenceStates) EventName() string { return "eval_reference" }

// NewReference measures the base model, or recalls what it answered before.
func NewReference(ctx context.Context, base *rt.Model, o Options, l Listener) (*Reference, error) {
	ref := &Reference{Model: base, options: o, states: &states{}}
	if err := base.Guard(func() error { return ref.measure(ctx, l) }); err != nil {
		ref.Close()
		return nil, err
	}
	return ref, nil
}

func (ref *Reference) measure(ctx context.Context, l Listener) (err error) {
	if ref.windows, ref.inText, err = ref.options.chunks(ref.Model); err != nil {
		return err
	}
	ref.Result.describe(ref.options, ref.windows, ref.inText)
	ref.Result.Windows = len(ref.windows)
	s := newScorer(ref.Model)
	if len(ref.windows) > 0 {
		if err := ref.prepare(ctx, s, l); err != nil {
			return err
		}
	}
	for _, set := range ref.options.Tasks {
		answers, err := ref.answers(ctx, s, set, l)
		if err != nil {
			return err
		}
		ref.tasks = append(ref.tasks, answers)
		ref.Result.Tasks = append(ref.Result.Tasks, set.results(answers, nil)...)
	}
	ref.Result.Notes = slices.Concat(ref.Result.Notes, s.notes())
	return nil
}

// Close releases the reference's file.
func (ref *Reference) Close() error { return ref.states.close() }

// prepare recalls the hidden states or computes them.
func (ref *Reference) prepare(ctx context.Context, s *scorer, l Listener) error {
	first := ref.windows[0]
	h := statesHeader{Model: ref.Model.Name, Text: ref.options.Text.Name, Windows: len(ref.windows),
		Size: (len(first) - 1 - len(first)/2) * ref.Model.Config.Hidden}
	c := newCache(ref.options.CacheDir)
	h.Key = c.key(ref.Model, "states", hashWindows(ref.windows))
	if h.Key == "" {
		l.send(ReferenceStates{Bytes: statesBytes(h)})
		return ref.compute(ctx, s, l, func(w []float32) error {
			ref.states.memory = append(ref.states.memory, slices.Clone(w))
			return nil
		})
	}
	path := c.path(h.Key, ".states")
	if !ref.options.Refresh && ref.recall(c, path, h) {
		l.send(ReferenceStates{statesBytes(h), path, true})
		return nil
	}
	f, err := c.create()
	if err != nil {
		return ref.withoutCache(ctx, s, l, err)
	}
	defer os.Remove(f.Name()) // gone once it has its name
	l.send(ReferenceStates{statesBytes(h), path, false})
	if err := ref.record(ctx, s, l, c, f, path, h); err != nil {
		f.Close()
		if errors.Is(err, errKeeping) {
			return ref.withoutCache(ctx, s, l, err)
		}
		return err
	}
	if ref.states.file != f {
		f.Close()
	}
	return nil
}

// withoutCache computes the hidden states and keeps them in memory.
func (ref *Reference) withoutCache(ctx context.Context, s *scorer, l Listener, why error) error {
	ref.unkept(why)
	ref.options.CacheDir, ref.states = "", &states{}
	return ref.prepare(ctx, s, l)
}

// unkept notes, once, that the cache is of no use: a disk that is full, or cannot be
// written, is no reason to measure nothing.
func (ref *Reference) unkept(why error) {
	if !ref.noted {
		ref.noted = true
		ref.Result.Notes = append(ref.Result.Notes, fmt.Sprintf("the base model's answers are not kept for later: %v", why))
	}
}

// errKeeping reports that hidden states can be neither kept nor read back.
var errKeeping = errors.New("keeping the base model's hidden states")

// record computes the hidden states into f and publishes it. What is larger than
// the whole cache may be is used once, without a name. If the disk fills up on the
// way, what is in f moves to memory and the rest stays there.
func (ref *Reference) record(ctx context.Context, s *scorer, l Listener, c cache, f *os.File, path string, h statesHeader) error {
	w, err := newStatesWriter(f)
	if err != nil {
		return fmt.Errorf("%w: %v", errKeeping, err)
	}
	var full error
	rescue := func(why error) error {
		if full = why; full == nil {
			return nil
		}
		if ref.states, err = w.read(h.Size); err != nil {
			return fmt.Errorf("%w: %v", errKeeping, full)
		}
		ref.unkept(full)
		return nil
	}
	keep := func(window []float32) error {
		if full == nil {
			if err := rescue(w.add(window)); err != nil || full == nil {
				return err
			}
		}
		ref.states.memory = append(ref.states.memory, slices.Clone(window))
		return nil
	}
	// What another state of the model's files answered must not stay.
	if err := ref.Model.Guard(func() error { return ref.compute(ctx, s, l, keep) }); err != nil || full != nil {
		return err
	}
	h.PPL, h.PPLSE, h.Tokens = ref.Result.PPL, ref.Result.PPLSE, ref.Result.Tokens
	if statesBytes(h) > c.limit {
		ref.states = &states{size: h.Size, file: f, start: statesStart}
		return nil
	}
	if err := rescue(w.finish(h)); err != nil || full != nil {
		return err
	}
	if why := c.publish(f, path); why != nil {
		if w.f, err = os.Open(f.Name()); err != nil {
			return fmt.Errorf("%w: %v", errKeeping, why)
		}
		defer w.f.Close()
		return rescue(why)
	}
	if !ref.recall(c, path, h) {
		return fmt.Errorf("%w: %s was damaged while it was written", errKeeping, path)
	}
	return nil
}

// recall takes over a file if it is whole and what is wanted.
func (ref *Reference) recall(c cache, path string, want statesHeader) bool {
	f, err := c.open(path)
	if err != nil {
		return false
	}
	known, h, err := openStates(f, want)
	if err != nil {
		f.Close()
		return false
	}
	ref.states = known
	ref.Result.PPL, ref.Result.PPLSE, ref.Result.Tokens = h.PPL, h.PPLSE, h.Tokens
	return true
}

// compute takes the text through the model and gives keep the hidden states of
// each window's scored half.
func (ref *Reference) compute(ctx context.Context, s *scorer, l Listener, keep func([]float32) error) error {
	p := newProgress(l, "reference", ref.windows)
	var nll moments
	for i, w := range ref.windows {
		hidden, err := s.hidden(ctx, w)
		if err != nil {
			return err
		}
		scored, targets := scoredHalf(hidden, w, s.m.Config.Hidden)
		if err := nll.addLosses(s.score(scored, targets)); err != nil {
			return fmt.Errorf("%s, window %d: %w", s.m.Name, i+1, explain(ctx, s.m, err))
		}
		if err := keep(scored); err != nil {
			return err
		}
		p.step(nll, moments{})
	}
	ref.Result.setPerplexity(nll)
	return nil
}

// hashWindows is a SHA-256 of tokens and where windows begin.
func hashWindows(windows [][]int32) string {
	h := sha256.New()
	var raw []byte
	for _, w := range windows {
		raw = binary.LittleEndian.AppendUint32(raw[:0], uint32(len(w)))
		for _, id := range w {
			raw = binary.LittleEndian.AppendUint32(raw, uint32(id))
		}
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// accepts reports why a model cannot be compared with the reference.
func (ref *Reference) accepts(m *rt.Model) error {
	base := ref.Model
	if m.Config.Vocab != base.Config.Vocab {
		return fmt.Errorf("%w: %s has a vocabulary of %d tokens, %s of %d", ErrMismatch, m.Name, m.Config.Vocab, base.Name, base.Config.Vocab)
	}
	if len(ref.windows) == 0 || m.Tok == base.Tok {
		return nil
	}
	if n := len(ref.windows[0]); n > m.Config.Positions {
		return fmt.Errorf("%w: windows have %d tokens, %s holds %d: give a smaller --ctx", ErrMismatch, n, m.Name, m.Config.Positions)
	}
	o := ref.options
	o.Ctx = len(ref.windows[0])
	windows, _, err := o.chunks(m)
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
