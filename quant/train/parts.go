package train

import (
	"nibble/kernels"
	"nibble/quant/grid"
)

// part is samples that go through a layer together, one after the other.
type part struct{ samples, lengths []int }

// PassTokens is about how many tokens go through a layer together: enough to
// occupy all threads, few enough for what a large model computes to fit in memory.
const PassTokens = 1024

// together cuts samples, whose lengths a function gives, into parts that go through a
// layer together, and gives each to f.
func together(length func(sample int) int, samples []int, f func(part) error) error {
	var p part
	tokens := 0
	flush := func() error {
		if len(p.samples) == 0 {
			return nil
		}
		err := f(p)
		p.samples, p.lengths, tokens = p.samples[:0], p.lengths[:0], 0
		return err
	}
	for _, s := range samples {
		n := length(s)
		if tokens > 0 && tokens+n > PassTokens {
			if err := flush(); err != nil {
				return err
			}
		}
		p.samples, p.lengths = append(p.samples, s), append(p.lengths, n)
		tokens += n
	}
	return flush()
}

// gather puts in m what samples of a part have of each token, in m's memory if that
// suffices. It has no data if from is nil.
func (p part) gather(m *kernels.Matrix, from [][]float32) kernels.Matrix {
	if from == nil {
		return kernels.Matrix{}
	}
	m.Data, m.Rows = m.Data[:0], 0
	for i, s := range p.samples {
		m.Data = append(m.Data, from[s]...)
		m.Rows += p.lengths[i]
	}
	m.Cols = len(m.Data) / m.Rows
	m.Stride = m.Cols
	return *m
}

// FirstSamples returns those that have the tokens which errors of outputs are
// measured on.
func FirstSamples(inputs [][]float32, hidden int) []int {
	var out []int
	for s, tokens := 0, 0; s < len(inputs) && tokens < grid.SampleRows; s++ {
		out = append(out, s)
		tokens += len(inputs[s]) / hidden
	}
	return out
}

// Floats returns the values of a prepared matrix.
func Floats(l *kernels.Linear) kernels.Matrix {
	w := kernels.NewMatrix(l.N(), l.K())
	for r := range w.Rows {
		l.Row(w.Row(r), r)
	}
	return w
}

// Longest is how many tokens the longest of some texts has.
func Longest(texts [][]int32) int {
	n := 0
	for _, t := range texts {
		n = max(n, len(t))
	}
	return n
}
