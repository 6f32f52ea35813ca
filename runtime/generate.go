package runtime

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"time"
)

// StopReason says why a generation ended.
type StopReason string

// The reasons.
const (
	StopEOS       StopReason = "eos"       // the model ended the text
	StopLength    StopReason = "length"    // MaxTokens
	StopString    StopReason = "stop"      // one of the stop strings
	StopContext   StopReason = "context"   // the context is full
	StopCancelled StopReason = "cancelled" // the caller's context ended
)

// GenResult is a finished generation.
type GenResult struct {
	Text         string        `json:"text"`
	PromptTokens int           `json:"prompt_tokens"` // of them, those processed now
	Tokens       int           `json:"tokens"`
	FirstToken   time.Duration `json:"-"`
	PrefillTPS   float64       `json:"prefill_tps"`
	DecodeTPS    float64       `json:"decode_tps"`
	StopReason   StopReason    `json:"stop_reason"`
}

// Generate feeds prompt to the session and continues it, calling on, which may
// be nil, with each stretch of text as it is known. Cancelling ctx ends the
// generation between tokens with StopCancelled and no error.
func (m *Model) Generate(ctx context.Context, s *Session, prompt []int32, o GenOptions, on func(text string)) (GenResult, error) {
	if err := o.Validate(); err != nil {
		return GenResult{}, err
	}
	if m.Tok == nil {
		return GenResult{}, errors.New("the model has no tokenizer")
	}
	if len(prompt) == 0 {
		return GenResult{}, errors.New("the prompt is empty")
	}
	g := &generation{m: m, s: s, o: o, on: on, stream: m.Tok.Continue()}
	if s.Len() == 0 && onlySpecial(m, prompt) {
		g.stream = m.Tok.NewStream()
	}
	return g.run(ctx, prompt)
}

// onlySpecial reports whether the text begins with what is generated.
func onlySpecial(m *Model, prompt []int32) bool {
	return !slices.ContainsFunc(prompt, func(id int32) bool { return !m.Tok.Special(id) })
}

// generation is the state of one Generate call.
type generation struct {
	m      *Model
	s      *Session
	o      GenOptions
	on     func(string)
	stream interface {
		Push(int32) string
		Flush() string
	}
	text strings.Builder // given out
	held string          // may be the beginning of a stop string
	res  GenResult
}

func (g *generation) run(ctx context.Context, prompt []int32) (GenResult, error) {
	start := time.Now()
	g.res.PromptTokens = len(prompt)
	hidden, err := g.s.Forward(ctx, prompt)
	if err != nil {
		if ctx.Err() != nil {
			g.res.StopReason = StopCancelled
			return g.res, nil
		}
		return g.res, err
	}
	logits := make([]float32, g.m.Config.VocabSize)
	g.logits(logits, hidden)
	if sum := g.m.Engine.LogSumExp(logits); math.IsNaN(sum) || math.IsInf(sum, 0) {
		return g.res, g.m.Diagnose(ctx)
	}
	g.res.FirstToken = time.Since(start)
	g.res.PrefillTPS = float64(len(prompt)) / g.res.FirstToken.Seconds()

	decodeStart := time.Now()
	steps := 0
	pick := newSampler(g.m.Engine, g.o)
	for {
		if g.o.MaxTokens > 0 && g.res.Tokens >= g.o.MaxTokens {
			g.res.StopReason = StopLength
			break
		}
		id := pick.next(logits, g.s.Tokens())
		if !g.o.IgnoreEOS && slices.Contains(g.m.EOS, id) {
			g.res.StopReason = StopEOS
			break
		}
		g.res.Tokens++
		if g.emit(g.stream.Push(id)) {
			g.res.StopReason = StopString
			break
		}
		if g.s.Len() >= g.s.Limit() {
			g.res.StopReason = StopContext
			break
		}
		if hidden, err = g.s.Forward(ctx, []int32{id}); err != nil {
			if ctx.Err() == nil {
				return g.res, err
			}
			g.res.StopReason = StopCancelled
			break
		}
		g.logits(logits, hidden)
		steps++
	}
	if g.res.StopReason != StopString && !g.emit(g.stream.Flush()) {
		g.give(g.held)
	}
	if steps > 0 {
		g.res.DecodeTPS = float64(steps) / time.Since(decodeStart).Seconds()
	}
	g.res.Text = g.text.String()
	return g.res, nil
}

// logits computes those of the last hidden state.
func (g *generation) logits(dst, hidden []float32) {
	g.m.Logits(g.s.buf.acts, dst, hidden[len(hidden)-g.m.Config.Hidden:], 1)
}

func (g *generation) give(text string) {
	if text == "" {
		return
	}
	g.text.WriteString(text)
	if g.on != nil {
		g.on(text)
	}
}

// emit passes text on, holding back what could begin a stop string. It reports
// whether a stop string is complete.
func (g *generation) emit(text string) bool {
	g.held += text
	for _, stop := range g.o.Stop {
		if i := strings.Index(g.held, stop); stop != "" && i >= 0 {
			g.give(g.held[:i])
			g.held = ""
			return true
		}
	}
	keep := 0
	for _, stop := range g.o.Stop {
		for n := min(len(stop)-1, len(g.held)); n > keep; n-- {
			if strings.HasSuffix(g.held, stop[:n]) {
				keep = n
			}
		}
	}
	g.give(g.held[:len(g.held)-keep])
	g.held = g.held[len(g.held)-keep:]
	return false
}
