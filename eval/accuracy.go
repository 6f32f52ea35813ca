package eval

import (
	"math"
	"strings"
	"unicode/utf8"
)

// TaskResult is one task's score; the accuracy of "all" covers a whole set. The
// answer that counts is the likeliest choice, the first of equals.
type TaskResult struct {
	Name       string  `json:"name"`
	N          int     `json:"n"`
	Acc        float64 `json:"acc"` // likeliest
	AccSE      float64 `json:"acc_se"`
	AccNorm    float64 `json:"acc_norm"` // likeliest per character
	AccNormSE  float64 `json:"acc_norm_se"`
	AccBytes   float64 `json:"acc_bytes"` // likeliest per byte of UTF-8
	AccBytesSE float64 `json:"acc_bytes_se"`
	*Unconditioned
	*LastWord
	*TaskComparison
}

// Unconditioned is the accuracy by how much likelier the question makes a choice,
// where the set has the choices without the question.
type Unconditioned struct {
	AccUncond   float64 `json:"acc_uncond"`
	AccUncondSE float64 `json:"acc_uncond_se"`
}

// LastWord is the perplexity of the answers, where each question has one and is
// answered by greedy decoding (LAMBADA).
type LastWord struct {
	PPL   float64 `json:"ppl"`
	PPLSE float64 `json:"ppl_se"`
}

// TaskComparison is a task against the reference, question by question.
type TaskComparison struct {
	BaseAcc float64 `json:"base_acc"`
	Flips   int     `json:"flips"`   // questions whose verdict changed
	Worse   int     `json:"worse"`   // right before, wrong now
	Better  int     `json:"better"`  // wrong before, right now
	PValue  float64 `json:"p_value"` // McNemar, exact: chance of such a split without any effect

	BaseAccNorm float64 `json:"base_acc_norm"` // the same of AccNorm
	FlipsNorm   int     `json:"flips_norm"`
	WorseNorm   int     `json:"worse_norm"`
	BetterNorm  int     `json:"better_norm"`
	PValueNorm  float64 `json:"p_value_norm"`
}

// verdict is whether an answer is right, by each measure.
type verdict struct {
	acc, norm, bytes, uncond bool
	loss                     float64 // of the right choice
}

// judge finds which choice an answer gives.
func (item Item) judge(a answer) verdict {
	v := verdict{loss: -a.LogProbs[item.Gold]}
	if item.Greedy {
		v.acc, v.norm, v.bytes = a.Greedy, a.Greedy, a.Greedy
		return v
	}
	right := func(score func(i int) float64) bool {
		best, top := math.Inf(-1), 0
		for i := range item.Choices {
			if s := score(i); s > best {
				best, top = s, i
			}
		}
		return top == item.Gold
	}
	// The space that joins a choice to its context is no part of it.
	text := func(i int) string { return strings.TrimPrefix(item.Choices[i].Continuation, " ") }
	v.acc = right(func(i int) float64 { return a.LogProbs[i] })
	v.norm = right(func(i int) float64 { return a.LogProbs[i] / float64(max(1, utf8.RuneCountInString(text(i)))) })
	v.bytes = right(func(i int) float64 { return a.LogProbs[i] / float64(max(1, len(text(i)))) })
	if len(a.Alone) == len(item.Choices) {
		v.uncond = right(func(i int) float64 { return a.LogProbs[i] - a.Alone[i] })
	}
	return v
}

// results summarizes answers, by task and, if there are several, for all. base
// may be nil.
func (set TaskSet) results(answers, base taskAnswers) []TaskResult {
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
		out = append(out, set.summarize(name, byTask[name], answers, base))
	}
	if len(names) > 1 {
		all := make([]int, len(set.Items))
		for i := range all {
			all[i] = i
		}
		out = append(out, set.summarize(set.Name, all, answers, base))
	}
	return out
}

func (set TaskSet) summarize(name string, items []int, answers, base taskAnswers) TaskResult {
	r := TaskResult{Name: name, N: len(items)}
	var acc, norm, bytes, uncond, loss moments
	var accPairs, normPairs pairs
	greedy, alone := true, true
	for _, i := range items {
		item := set.Items[i]
		v := item.judge(answers[i])
		acc.add(bit(v.acc))
		norm.add(bit(v.norm))
		bytes.add(bit(v.bytes))
		uncond.add(bit(v.uncond))
		loss.add(v.loss)
		greedy, alone = greedy && item.Greedy, alone && len(item.Alone) > 0
		if base != nil {
			was := item.judge(base[i])
			accPairs.add(was.acc, v.acc)
			normPairs.add(was.norm, v.norm)
		}
	}
	r.Acc, r.AccSE, r.AccNorm, r.AccNormSE, r.AccBytes, r.AccBytesSE = acc.mean, acc.se(), norm.mean, norm.se(), bytes.mean, bytes.se()
	if alone {
		r.Unconditioned = &Unconditioned{uncond.mean, uncond.se()}
	}
	if greedy {
		ppl, se := perplexity(loss)
		r.LastWord = &LastWord{ppl, se}
	}
	if base != nil {
		a, n := accPairs, normPairs
		r.TaskComparison = &TaskComparison{
			BaseAcc: a.before.mean, Flips: a.worse + a.better, Worse: a.worse, Better: a.better, PValue: mcNemar(a.worse, a.better),
			BaseAccNorm: n.before.mean, FlipsNorm: n.worse + n.better, WorseNorm: n.worse, BetterNorm: n.better, PValueNorm: mcNemar(n.worse, n.better),
		}
	}
	return r
}

// pairs counts how verdicts changed.
type pairs struct {
	before        moments
	worse, better int
}

func (p *pairs) add(was, is bool) {
	p.before.add(bit(was))
	switch {
	case was && !is:
		p.worse++
	case !was && is:
		p.better++
	}
}
