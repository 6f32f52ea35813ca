package quant

import (
	"bytes"
	"encoding/gob"
	"math/rand/v2"
	"time"

	"nibble/kernels"
)

// keepState makes v durable under a name, and keptState reads it back.
func keepState(to sink, name string, v any) error {
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(v); err != nil {
		return err
	}
	return to.keep(name, buf.Bytes())
}

func keptState(from sink, name string, v any) bool {
	data, ok := from.kept(name)
	return ok && gob.NewDecoder(bytes.NewReader(data)).Decode(v) == nil
}

// trainingState is training between two iterations: a run that goes on from it
// ends with the same bytes, wherever it was cut.
type trainingState struct {
	Iteration     int // done so far
	Before, Least float64
	Order         []int // samples that come next
	Random        rand.PCG
	Roundings     []roundingState
	Best          []*kernels.QTensor
}

// roundingState is what is trained of a matrix.
type roundingState struct{ Offset, Scale, Zero []float32 }

// saver keeps the state of a training from time to time: rarely enough for it to
// take a small part of the time.
type saver struct {
	to   sink // nil keeps nothing
	name string
	last time.Time
	took time.Duration
}

// saveEvery and saveShare say how rarely: at least so much time is between, and so
// many times as long as saving takes. Tests save more often.
var (
	saveEvery = 10 * time.Second
	saveShare = time.Duration(20)
)

func (s *saver) due() bool {
	return s.to != nil && time.Since(s.last) >= max(saveEvery, saveShare*s.took)
}

func (s *saver) save(st *trainingState, rs []*rounding) error {
	if s.to == nil {
		return nil
	}
	start := time.Now()
	st.Roundings = nil
	for _, r := range rs {
		st.Roundings = append(st.Roundings, roundingState{r.offset, r.scale, r.zero})
	}
	err := keepState(s.to, s.name, st)
	s.last = time.Now()
	s.took = s.last.Sub(start)
	return err
}

// recall goes on from what was kept of a training of the same roundings, if
// anything was.
func (s *saver) recall(eng *kernels.Engine, st *trainingState, rs []*rounding) bool {
	s.last = time.Now()
	var old trainingState
	if s.to == nil || !keptState(s.to, s.name, &old) || len(old.Roundings) != len(rs) || len(old.Best) != len(rs) {
		return false
	}
	*st = old
	for i, r := range rs {
		r.offset, r.scale, r.zero = old.Roundings[i].Offset, old.Roundings[i].Scale, old.Roundings[i].Zero
		r.round(eng)
	}
	return true
}
