package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	rt "nibble/runtime"
)

// ErrStopped ends an evaluation early at a listener's wish; the result so far is
// returned with it.
var ErrStopped = errors.New("evaluation stopped early")

// Event is anything an evaluation reports while it runs.
type Event interface{ EventName() string }

// Listener receives events; it must not block. It may be nil.
type Listener func(Event)

func (l Listener) send(e Event) {
	if l != nil {
		l(e)
	}
}

// Progress is reported after every window.
type Progress struct {
	Stage    string  `json:"stage"` // "reference" or "model"
	Done     int     `json:"done"`  // windows
	Total    int     `json:"total"`
	PPL      float64 `json:"ppl"`
	PPLSE    float64 `json:"ppl_se"`
	KLD      float64 `json:"kld,omitempty"`
	KLDSE    float64 `json:"kld_se,omitempty"`
	Rate     float64 `json:"tokens_per_second"`
	Seconds  float64 `json:"seconds"`
	Estimate float64 `json:"eta_seconds"`
}

// TaskProgress is reported while questions are answered.
type TaskProgress struct {
	Task     string  `json:"task"`
	Done     int     `json:"done"` // questions
	Total    int     `json:"total"`
	Rate     float64 `json:"questions_per_second"`
	Seconds  float64 `json:"seconds"`
	Estimate float64 `json:"eta_seconds"`
}

// EventName implements Event.
func (Progress) EventName() string { return "eval_progress" }

// EventName implements Event.
func (TaskProgress) EventName() string { return "eval_task_progress" }

// Result is an evaluation. Without a reference only the first part and the
// tasks are set.
type Result struct {
	PPL     float64 `json:"ppl"`
	PPLSE   float64 `json:"ppl_se"`
	Tokens  int     `json:"tokens"` // scored
	Ctx     int     `json:"ctx"`
	Windows int     `json:"windows"` // measured

	WindowsInText int      `json:"windows_in_text"`
	Text          string   `json:"text,omitempty"`
	TextSHA256    string   `json:"text_sha256,omitempty"`
	Notes         []string `json:"notes,omitempty"` // where it differs from what was asked

	*Comparison
	WorstTokens []WorstToken `json:"worst_tokens,omitempty"` // the largest divergence first
	Tasks       []TaskResult `json:"tasks"`
}

// Compared reports whether the result has a comparison.
func (r Result) Compared() bool { return r.Comparison != nil }

// describe says what is about to be measured.
func (r *Result) describe(o Options, windows [][]int32, inText int) {
	if len(windows) > 0 {
		r.Ctx, r.Text, r.TextSHA256, r.Notes, r.WindowsInText = len(windows[0]), o.Text.Name, o.Text.SHA256, o.notes(windows), inText
	}
}

func (r *Result) setPerplexity(nll moments) {
	r.Tokens = nll.n
	r.PPL, r.PPLSE = perplexity(nll)
}

// Run measures a model; with a reference, against it, on the text and the
// questions of the reference. stop, which may be nil, is asked after every
// window with the result so far, percentiles excepted, and ends the run by
// returning true.
func Run(ctx context.Context, m *rt.Model, ref *Reference, o Options, l Listener, stop func(Result) bool) (res Result, err error) {
	measured := func() error {
		res, err = run(ctx, m, ref, o, l, stop)
		return err
	}
	if ref == nil {
		err = m.Guard(measured)
	} else {
		err = m.Guard(func() error { return ref.Model.Guard(measured) })
	}
	return res, err
}

func run(ctx context.Context, m *rt.Model, ref *Reference, o Options, l Listener, stop func(Result) bool) (Result, error) {
	var res Result
	var windows [][]int32
	var inText int
	var err error
	if ref == nil {
		windows, inText, err = o.chunks(m)
	} else {
		windows, inText, o, err = ref.windows, ref.inText, ref.options, ref.accepts(m)
	}
	if err != nil {
		return res, err
	}
	res.describe(o, windows, inText)
	if ref != nil {
		res.Notes = ref.Result.Notes
	}
	s := newScorer(m)
	var nll moments
	var paired comparison
	far := worst{n: o.Worst}
	p := newProgress(l, "model", windows)
	var reader *statesReader
	if ref != nil {
		reader = ref.states.reader()
	}
	for i, w := range windows {
		hidden, err := s.hidden(ctx, w)
		if err != nil {
			return res, err
		}
		scored, targets := scoredHalf(hidden, w, m.Config.Hidden)
		if ref == nil {
			err = nll.addLosses(s.score(scored, targets))
		} else {
			var base []float32
			if base, err = reader.window(i); err != nil {
				return res, err
			}
			pairs := s.compare(scored, ref.Model, base, targets)
			err = paired.addAll(pairs)
			far.add(i, len(w), pairs, scored, base)
			nll = paired.own
			res.Comparison = paired.result()
		}
		if err != nil {
			return res, fmt.Errorf("%s, window %d: %w", m.Name, i+1, explain(ctx, m, err))
		}
		res.setPerplexity(nll)
		res.Windows = i + 1
		p.step(nll, paired.kld)
		if stop != nil && stop(res) {
			paired.percentiles(res.Comparison)
			return res, ErrStopped
		}
	}
	paired.percentiles(res.Comparison)
	if ref != nil {
		res.WorstTokens = far.tokens(s, ref.Model, windows)
	}
	for i, set := range o.Tasks {
		answers, err := ask(ctx, s, set, l)
		if err != nil {
			return res, err
		}
		var base taskAnswers
		if ref != nil {
			base = ref.tasks[i]
		}
		res.Tasks = append(res.Tasks, set.results(answers, base)...)
	}
	res.Notes = slices.Concat(res.Notes, s.notes())
	return res, nil
}

// explain names the tensor behind a broken output.
func explain(ctx context.Context, m *rt.Model, err error) error {
	if !errors.Is(err, ErrNotFinite) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotFinite, m.Diagnose(ctx))
}

// addLosses adds the negated log-probabilities of a window.
func (m *moments) addLosses(logProbs []float64) error {
	for _, lp := range logProbs {
		if !finite(lp) {
			return ErrNotFinite
		}
		m.add(-lp)
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// progress reports windows with the time left.
type progress struct {
	l           Listener
	stage       string
	done, total int
	tokens      int // of a window
	start       time.Time
}

func newProgress(l Listener, stage string, windows [][]int32) *progress {
	p := &progress{l: l, stage: stage, total: len(windows), start: time.Now()}
	if len(windows) > 0 {
		p.tokens = len(windows[0])
	}
	return p
}

func (p *progress) step(nll, kld moments) {
	p.done++
	elapsed := time.Since(p.start).Seconds()
	ppl, se := perplexity(nll)
	p.l.send(Progress{Stage: p.stage, Done: p.done, Total: p.total, PPL: ppl, PPLSE: se,
		KLD: kld.mean, KLDSE: kld.se(), Rate: float64(p.done*p.tokens) / max(elapsed, 1e-9), Seconds: elapsed,
		Estimate: elapsed / float64(p.done) * float64(p.total-p.done)})
}
