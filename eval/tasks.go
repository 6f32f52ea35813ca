package eval

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"nibble/model/tokenizer"
)

// TaskSet is a file of multiple-choice questions, of one task or several.
type TaskSet struct {
	Name   string
	SHA256 string
	Items  []Item
}

// Item is one question.
type Item struct {
	Task    string
	Choices []Choice
	Alone   []Choice // the same choices after a context without the question; may be none
	Gold    int
	// Greedy asks whether the only choice is what greedy decoding gives, as
	// LAMBADA does.
	Greedy bool
}

// Choice is an answer: how likely is the continuation after the context?
type Choice struct {
	Context, Continuation string
}

// answer is what a model says to a question: how likely every choice is.
type answer struct {
	LogProbs []float64 `json:"log_probs"`
	Alone    []float64 `json:"alone,omitempty"`  // without the question
	Greedy   bool      `json:"greedy,omitempty"` // the only choice is what greedy decoding gives
}

// taskAnswers holds the answers to a set in order.
type taskAnswers []answer

// ask asks every question of a set.
func ask(ctx context.Context, s *scorer, set TaskSet, l Listener) (taskAnswers, error) {
	if s.m.Tok == nil {
		return nil, errNoTokenizer(s.m)
	}
	answers := make(taskAnswers, 0, len(set.Items))
	start := time.Now()
	for i, item := range set.Items {
		a, err := s.answer(ctx, item)
		if err != nil {
			return nil, fmt.Errorf("%s, question %d: %w", set.Name, i+1, err)
		}
		answers = append(answers, a)
		if i%16 == 15 || i == len(set.Items)-1 {
			elapsed, done := time.Since(start).Seconds(), float64(i+1)
			l.send(TaskProgress{Task: set.Name, Done: i + 1, Total: len(set.Items), Rate: done / max(elapsed, 1e-9),
				Seconds: elapsed, Estimate: elapsed / done * float64(len(set.Items)-i-1)})
		}
	}
	return answers, nil
}

// answer scores every choice of a question.
func (s *scorer) answer(ctx context.Context, item Item) (answer, error) {
	var a answer
	for _, c := range item.Choices {
		lp, greedy, err := s.continuation(ctx, c)
		if err != nil {
			return a, err
		}
		a.LogProbs = append(a.LogProbs, lp)
		a.Greedy = item.Greedy && greedy
	}
	for _, c := range item.Alone {
		lp, _, err := s.continuation(ctx, c)
		if err != nil {
			return a, err
		}
		a.Alone = append(a.Alone, lp)
	}
	return a, nil
}

// encode returns the tokens of a choice and where its continuation begins, as
// lm-evaluation-harness has it: the two are encoded together, spaces between
// them belong to the continuation, and the context's own tokens decide where it
// begins. At least one token belongs to either. Texts begin with the token that
// the tokenizer puts there, if it does (add_bos_token, in the harness's words).
func (s *scorer) encode(c Choice) (tokens []int32, split int) {
	tok := s.m.Tok
	opts := tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true}
	before := strings.TrimRightFunc(c.Context, unicode.IsSpace)
	tokens = tok.Encode(c.Context+c.Continuation, opts)
	split = len(tok.Encode(before, opts))
	if split == 0 { // something must come before the first token
		start, ok := tok.BOS()
		if !ok {
			start, _ = tok.EOS() // or else token 0
		}
		tokens, split = append([]int32{start}, tokens...), 1
	}
	split = max(1, min(split, len(tokens)-1))
	if drop := len(tokens) - 1 - s.session.Limit(); drop > 0 { // the last token is not run
		tokens, split = tokens[drop:], max(1, split-drop)
	}
	return tokens, split
}

// continuation is the log-probability of a choice, and whether it is what greedy
// decoding gives. The session keeps what it shares with the text before: a
// context that choices share, and examples that questions share, are computed
// once.
func (s *scorer) continuation(ctx context.Context, c Choice) (sum float64, greedy bool, err error) {
	tokens, split := s.encode(c)
	s.session.Expect(len(tokens))
	// The last shared token is run again: its hidden state is needed.
	keep := 0
	for keep < split-1 && keep < s.session.Len() && s.session.Tokens()[keep] == tokens[keep] {
		keep++
	}
	s.session.Truncate(keep)
	s.asked += len(tokens) - 1
	s.ran += len(tokens) - 1 - keep
	hidden, err := s.session.Forward(ctx, tokens[keep:len(tokens)-1])
	if err != nil {
		return 0, false, err
	}
	lps, greedy := s.scoreGreedy(hidden[(split-1-keep)*s.m.Config.Hidden:], tokens[split:])
	for _, lp := range lps {
		sum += lp
	}
	if !finite(sum) {
		return 0, false, fmt.Errorf("%s: %w", s.m.Name, explain(ctx, s.m, ErrNotFinite))
	}
	return sum, greedy, nil
}
