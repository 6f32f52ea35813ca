package runtime

import (
	"context"
	"errors"
	"fmt"
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
	StopLength    StopReason = "length"    // MaxTokens or MaxLength
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
	Seed         uint64        `json:"seed"` // that gives the same text again
	StopReason   StopReason    `json:"stop_reason"`
	Notes        []string      `json:"notes,omitempty"`
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
	var res GenResult
	err := m.Guard(func() (err error) {
		res, err = g.run(ctx, prompt)
		return err
	})
	return res, err
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
	held heldText        // may be the beginning of a stop string
	res  GenResult
}

// limit is how many tokens the answer may have, 0 if any number.
func (g *generation) limit() int {
	n := g.o.MaxTokens
	if g.o.MaxLength == 0 {
		return n
	}
	room := g.o.MaxLength - g.s.Len()
	if room <= 0 {
		g.res.Notes = append(g.res.Notes, fmt.Sprintf("the prompt has %d tokens: the limit of %d for prompt and answer is left out", g.s.Len(), g.o.MaxLength))
	} else if n == 0 || room < n {
		n = room
	}
	return n
}

func (g *generation) run(ctx context.Context, prompt []int32) (GenResult, error) {
	start, beyond := time.Now(), g.s.BeyondF16()
	g.res.PromptTokens, g.res.Seed = len(prompt), g.o.Seed
	hidden, err := g.s.Forward(ctx, prompt)
	if err != nil {
		if ctx.Err() != nil {
			g.res.StopReason = StopCancelled
			return g.res, nil
		}
		return g.res, err
	}
	logits := make([]float32, g.m.Config.Vocab)
	g.logits(logits, hidden)
	if sum := g.m.Engine.LogSumExp(logits); math.IsNaN(sum) || math.IsInf(sum, 0) {
		return g.res, g.m.Diagnose(ctx)
	}
	g.res.FirstToken = time.Since(start)
	g.res.PrefillTPS = float64(len(prompt)) / g.res.FirstToken.Seconds()

	decodeStart := time.Now()
	steps := 0
	pick, limit := newSampler(g.m.Engine, g.o), g.limit()
	for {
		if limit > 0 && g.res.Tokens >= limit {
			g.res.StopReason = StopLength
			break
		}
		id := pick.next(logits, g.s.Tokens())
		if !g.o.IgnoreEOS && slices.Contains(g.m.EOS, id) {
			g.res.StopReason = StopEOS
			break
		}
		g.res.Tokens++
		if g.push(id) {
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
		g.give(g.held.take(g.held.len()))
	}
	if g.s.BeyondF16() && !beyond {
		g.res.Notes = append(g.res.Notes, BeyondF16Note)
	}
	if steps > 0 {
		g.res.DecodeTPS = float64(steps) / time.Since(decodeStart).Seconds()
	}
	g.res.Text = g.text.String()
	return g.res, nil
}

// logits computes those of the last hidden state.
func (g *generation) logits(dst, hidden []float32) {
	g.m.Logits(g.s.pass.Acts(), dst, hidden[len(hidden)-g.m.Config.Hidden:], 1)
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

// push passes a token's text on, see emit.
func (g *generation) push(id int32) bool {
	text := g.stream.Push(id)
	if len(g.o.Stop) > 0 && g.m.Tok.Special(id) {
		g.held.addSpecial(g.m.Tok.Piece(id))
	}
	return g.emit(text)
}

// emit passes text on, holding back what could begin a stop string. It reports
// whether a stop string is complete.
func (g *generation) emit(text string) bool {
	g.held.add(text)
	if at := g.held.first(g.o.Stop); at >= 0 {
		g.give(g.held.take(at))
		return true
	}
	g.give(g.held.take(g.held.len() - g.held.begun(g.o.Stop)))
	return false
}
