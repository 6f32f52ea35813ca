package quant

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"nibble/kernels"
	"nibble/model"
)

// Text repeats few tokens: of a vocabulary of thousands, a tenth is two thirds of
// what is read and written. An embedding's rows of these, and an output head's, are
// worth more bits than the rest, whatever method stores the rest (Spec.Top).

// raise gives the rows of a matrix that its spec says have 8 bits these.
func (p *pass) raise(m PlannedModule, q *kernels.QTensor, row func(buf []float32, r int) []float32) {
	if n := m.Spec.Scheme().TopCount(m.Module.Rows); n > 0 {
		raise(p.eng, q, row, mostUsed(p.cal.Tokens, m.Module.Rows, n))
	}
}

// tokenCounts returns how often each token of a vocabulary occurs in texts.
func tokenCounts(texts [][]int32, vocabulary int) []int {
	counts := make([]int, vocabulary)
	for _, text := range texts {
		for _, token := range text {
			counts[token]++
		}
	}
	return counts
}

// mostUsed returns the n tokens that occur most in texts, ascending. Of those that
// occur alike, which most do not at all, it takes the first: tokenizers number what
// they merged early, because it was frequent, before the rest.
func mostUsed(texts [][]int32, vocabulary, n int) []int32 {
	counts := tokenCounts(texts, vocabulary)
	tokens := make([]int32, vocabulary)
	for i := range tokens {
		tokens[i] = int32(i)
	}
	slices.SortStableFunc(tokens, func(a, b int32) int { return cmp.Compare(counts[b], counts[a]) })
	return slices.Sorted(slices.Values(tokens[:n]))
}

// The codes of 8 bits: GGUF's Q8_0 need not hold -128, and the largest is 16 times
// the largest of 4 bits and half a step of theirs.
const (
	topLeast = -127
	topMost  = 16*7 + 7
)

// raise gives rows of a matrix 8 bits, rounded to nearest. row returns a row's
// weights, which it may decode into the buffer that it gets.
func raise(eng *kernels.Engine, q *kernels.QTensor, row func(buf []float32, r int) []float32, rows []int32) {
	q.TopRows, q.TopCodes = rows, make([]byte, len(rows)*q.RowBytes())
	further := &kernels.QTensor{Rows: len(rows), Cols: q.Cols, Scheme: kernels.Scheme{Bits: 4, Group: q.Scheme.Group, Sym: true}, Codes: q.TopCodes}
	width := q.Scheme.GroupWidth(q.Cols)
	eng.For(len(rows), func(_, lo, hi int) {
		buf := make([]float32, q.Cols)
		for i := lo; i < hi; i++ {
			r := int(rows[i])
			w := row(buf, r)
			for g := range q.Groups() {
				from, to := g*width, min((g+1)*width, q.Cols)
				x := w[from:to]
				small := topScale(x)
				q.Scales[r*q.Groups()+g] = kernels.F32ToF16(16 * small)
				for c, v := range x {
					n := 0
					if small != 0 {
						n = int(math.RoundToEven(min(max(float64(v)/float64(small), topLeast), topMost)))
					}
					high := (n + 136) >> 4 // leaves -8 to 7
					q.SetCode(r, from+c, uint8(high))
					further.SetCode(i, from+c, uint8(n-16*(high-8)+8))
				}
			}
		}
	})
}

// topScale returns the scale of a group of 8 bits, so that 16 times it has an F16
// value as well.
func topScale(x []float32) float32 {
	lo, hi := rangeOf(x)
	up := max(-lo/-topLeast, hi/topMost)
	if down := max(hi/-topLeast, -lo/topMost); down < up {
		up = -down // of the other sign: the larger side has more codes
	}
	up = max(min(up, maxTopScale), -maxTopScale)
	return kernels.F16ToF32(roundScale(up))
}

// maxTopScale is a sixteenth of the largest F16.
const maxTopScale = 65504.0 / 16

// topNotes tells of rows with 8 bits whose tokens the calibration does not have.
func (p Plan) topNotes(c *Calibration) []string {
	var of notes
	for _, m := range p.Modules {
		if m.Spec.Top == 0 {
			continue
		}
		used := 0
		for _, n := range tokenCounts(c.Tokens, m.Module.Rows) {
			if n > 0 {
				used++
			}
		}
		if n := m.Spec.Scheme().TopCount(m.Module.Rows); n > used {
			of.add(m.Module.Name, fmt.Sprintf("the calibration has %d of the %d tokens that get 8 bits; the others are the vocabulary's first", used, n))
		}
	}
	return of.lines()
}

// usage returns how much the error of each row of a matrix counts for what the model
// computes: the more the more often its token occurs; nil where all count alike.
func (c *Calibration) usage(m model.Module) []float64 {
	if m.Layer >= 0 {
		return nil
	}
	var out []float64
	for _, n := range tokenCounts(c.Tokens, m.Rows) {
		out = append(out, float64(n)+rareUse)
	}
	return out
}

// rareUse is how often a token is thought to occur that a calibration does not have.
const rareUse = 0.5
