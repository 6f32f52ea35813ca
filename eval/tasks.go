package eval

import (
	"context"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

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
	Gold    int
	// Greedy asks whether the only choice is what greedy decoding gives, as
	// LAMBADA does.
	Greedy bool
}

// Choice is an answer: how likely is the continuation after the context?
type Choice struct {
	Context, Continuation string
}

// TaskResult is one task's score; the accuracy of "all" covers a whole set.
type TaskResult struct {
	Name      string  `json:"name"`
	N         int     `json:"n"`
	Acc       float64 `json:"acc"` // the likeliest answer is right
	AccSE     float64 `json:"acc_se"`
	AccNorm   float64 `json:"acc_norm"` // likeliest per character
	AccNormSE float64 `json:"acc_norm_se"`
	PPL       float64 `json:"ppl,omitempty"` // of the answers, where each question has one (LAMBADA)
	*TaskComparison
}

// TaskComparison is a task against the reference, question by question.
type TaskComparison struct {
	BaseAcc float64 `json:"base_acc"`
	Flips   int     `json:"flips"`   // questions whose verdict changed
	Worse   int     `json:"worse"`   // right before, wrong now
	Better  int     `json:"better"`  // wrong before, right now
	PValue  float64 `json:"p_value"` // McNemar, exact: chance of such a split without any effect
}

// maxLoss keeps a perplexity finite.
const maxLoss = 700

// verdict is how a model answered one question.
type verdict struct {
	acc, norm bool
	logProb   float64 // of the right answer
}

// taskScores holds the verdicts on a set in order.
type taskScores []verdict

// scoreTasks asks every question.
func scoreTasks(ctx context.Context, s *scorer, set TaskSet, l Listener) (taskScores, error) {
	if s.m.Tok == nil {
		return nil, errNoTokenizer(s.m)
	}
	scores := make(taskScores, 0, len(set.Items))
	for i, item := range set.Items {
		v, err := s.answer(ctx, item)
		if err != nil {
			return nil, err
		}
		scores = append(scores, v)
		if l != nil && (i%16 == 15 || i == len(set.Items)-1) {
			l(TaskProgress{set.Name, i + 1, len(set.Items)})
		}
	}
	return scores, nil
}

// answer scores every choice of a question: log-probability of its continuation,
// and the same per character.
func (s *scorer) answer(ctx context.Context, item Item) (verdict, error) {
	var v verdict
	best, bestNorm := math.Inf(-1), math.Inf(-1)
	s.session.Truncate(0)
	for i, c := range item.Choices {
		lp, greedy, err := s.continuation(ctx, c)
		if err != nil {
			return verdict{}, err
		}
		right := i == item.Gold
		if right {
			v.logProb = lp
		}
		if lp > best {
			best, v.acc = lp, right
		}
		// The space that joins a choice to its context is no part of it.
		chars := max(1, utf8.RuneCountInString(strings.TrimPrefix(c.Continuation, " ")))
		if n := lp / float64(chars); n > bestNorm {
			bestNorm, v.norm = n, right
		}
		if item.Greedy {
			v.acc, v.norm = greedy, greedy
		}
	}
	return v, nil
}

// encode returns the tokens of a choice and where its continuation begins, as
// lm-evaluation-harness has it: the two are encoded together, spaces between
// them belong to the continuation, and the context's own tokens decide where it
// begins. At least one token belongs to either.
func (s *scorer) encode(c Choice) (tokens []int32, split int) {
	tok := s.m.Tok
	opts := tokenizer.EncodeOptions{ParseSpecial: true}
	before := strings.TrimRight(c.Context, " \t\n\r")
	tokens = append(tok.Prefix(), tok.Encode(c.Context+c.Continuation, opts)...)
	split = len(tok.Prefix()) + len(tok.Encode(before, opts))
	if split == 0 { // something must come before the first token
		start := int32(0)
		if eos, ok := tok.EOS(); ok {
			start = eos
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
// decoding gives. The session keeps what it shares with the choice before, so
// that a common context is computed once.
func (s *scorer) continuation(ctx context.Context, c Choice) (sum float64, greedy bool, err error) {
	tokens, split := s.encode(c)
	// The last shared token is run again: its hidden state is needed.
	keep := 0
	for keep < split-1 && keep < s.session.Len() && s.session.Tokens()[keep] == tokens[keep] {
		keep++
	}
	s.session.Truncate(keep)
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

// results summarizes the verdicts, by task and, if there are several, for all.
// base may be nil.
func (set TaskSet) results(scores, base taskScores) []TaskResult {
	var names []string
	byTask := make(map[string][]int)
	for i, item := range set.Items {
		if byTask[item.Task] == nil {
			names = append(names, item.Task)
		}
		byTask[item.Task] = append(byTask[item.Task], i)
	}
	var out []TaskResult
	for _, name := range names {
		out = append(out, set.summarize(name, byTask[name], scores, base))
	}
	if len(names) > 1 {
		all := make([]int, len(set.Items))
		for i := range all {
			all[i] = i
		}
		out = append(out, set.summarize(set.Name, all, scores, base))
	}
	return out
}

func (set TaskSet) summarize(name string, items []int, scores, base taskScores) TaskResult {
	r := TaskResult{Name: name, N: len(items)}
	var acc, norm, baseAcc, loss moments
	greedy := true
	var cmp TaskComparison
	for _, i := range items {
		acc.add(bit(scores[i].acc))
		norm.add(bit(scores[i].norm))
		loss.add(-scores[i].logProb)
		greedy = greedy && set.Items[i].Greedy
		if base == nil {
			continue
		}
		baseAcc.add(bit(base[i].acc))
		switch {
		case base[i].acc && !scores[i].acc:
			cmp.Worse++
		case !base[i].acc && scores[i].acc:
			cmp.Better++
		}
	}
	r.Acc, r.AccSE, r.AccNorm, r.AccNormSE = acc.mean, acc.se(), norm.mean, norm.se()
	if greedy {
		r.PPL = math.Exp(min(loss.mean, maxLoss))
	}
	if base != nil {
		cmp.BaseAcc, cmp.Flips, cmp.PValue = baseAcc.mean, cmp.Worse+cmp.Better, mcNemar(cmp.Worse, cmp.Better)
		r.TaskComparison = &cmp
	}
	return r
}
