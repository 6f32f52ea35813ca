package train

import (
	"bytes"
	"encoding/gob"
	"math/rand/v2"
	"time"

	"nibble/kernels"
)

// store keeps the state of something that takes long, in place of what had its name,
// and returns it.
type store interface {
	Keep(name string, data []byte) error
	Kept(name string) ([]byte, bool)
}

// KeepState makes v durable under a name, and keptState reads it back.
func KeepState(to store, name string, v any) error {
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(v); err != nil {
		return err
	}
	return to.Keep(name, buf.Bytes())
}

// KeptState reads back into v what KeepState kept, and reports whether that was there.
func KeptState(from store, name string, v any) bool {
	data, ok := from.Kept(name)
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

// Saver keeps the state of a training from time to time: rarely enough for it to
// take a small part of the time.
type Saver struct {
	To   store // nil keeps nothing
	Name string
	last time.Time
	took time.Duration
}

// SaveEvery and saveShare say how rarely: at least so much time is between, and so
// many times as long as saving takes. Tests save more often.
var (
	SaveEvery = 10 * time.Second
	SaveShare = time.Duration(20)
)

func (s *Saver) due() bool {
	return s.To != nil && time.Since(s.last) >= max(SaveEvery, SaveShare*s.took)
}

func (s *Saver) save(st *trainingState, rs []*Rounding) error {
	if s.To == nil {
		return nil
	}
	start := time.Now()
	st.Roundings = nil
	for _, r := range rs {
		st.Roundings = append(st.Roundings, roundingState{r.offset, r.scale, r.zero})
	}
	err := KeepState(s.To, s.Name, st)
	s.last = time.Now()
	s.took = s.last.Sub(start)
	return err
}

// recall goes on from what was kept of a training of the same roundings, if
// anything was.
func (s *Saver) recall(eng *kernels.Engine, st *trainingState, rs []*Rounding) bool {
	s.last = time.Now()
	var old trainingState
	if s.To == nil || !KeptState(s.To, s.Name, &old) || len(old.Roundings) != len(rs) || len(old.Best) != len(rs) {
		return false
	}
	*st = old
	for i, r := range rs {
		r.offset, r.scale, r.zero = old.Roundings[i].Offset, old.Roundings[i].Scale, old.Roundings[i].Zero
		r.Round(eng)
	}
	return true
}
