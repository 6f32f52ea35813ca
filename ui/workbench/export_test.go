package workbench

import (
	"testing"

	"nibble/ui/job"
)

// Jobs carries out jobs as the workbench does, for tests that compare it with the
// command line.
type Jobs struct {
	b   *backend
	s   *state
	run func(start func(), stop func() bool)
}

// NewJobs opens a model.
func NewJobs(t *testing.T, model string) *Jobs {
	t.Helper()
	j := &Jobs{}
	j.b, j.s, j.run = realBackend(t)
	j.b.o.Model = model
	j.run(j.b.load, nil)
	return j
}

// Quantize makes an INT4 model and evaluates it: its perplexity and KL divergence, and
// how often it is right.
func (j *Jobs) Quantize(q job.Quantize, e job.Evaluate) (ppl, kld float64, right []float64) {
	j.b.judge = e
	j.run(func() { j.b.quantize(q) }, nil)
	r := j.s.eval.result.Result
	for _, t := range r.Tasks {
		right = append(right, t.Acc)
	}
	return r.PPL, r.KLDMean, right
}

// Answer is what the float model answers to the first message of a conversation.
func (j *Jobs) Answer(text string, g job.Generation) string {
	j.run(func() { j.b.send(chatRequest{useFloat: true, text: text, settings: g}) }, nil)
	return j.s.chat.turns[len(j.s.chat.turns)-1].answer
}
