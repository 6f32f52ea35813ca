package runtime

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"nibble/kernels"
	"nibble/model"
)

// fixtures holds tiny models of many families with logits that other programs
// agree on.
const fixtures = "../../shared/data/arch"

type fixture struct {
	IDs       []int32     `json:"ids"`
	Positions []int       `json:"positions"`
	Logits    [][]float64 `json:"logits"`
	Std       float64     `json:"logits_std"`
}

// eachFixture runs f on every one, codes as the floats that they stand for.
func eachFixture(t *testing.T, f func(t *testing.T, m *Model, want fixture)) {
	configs, _ := filepath.Glob(filepath.Join(fixtures, "*", "config.json"))
	if len(configs) == 0 {
		t.Skip("no fixtures in " + fixtures)
	}
	eng, err := kernels.New(kernels.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	for _, config := range configs {
		dir := filepath.Dir(config)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			ck, err := model.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer ck.Close()
			m, err := LoadFloat(context.Background(), eng, ck)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
			var want fixture
			if err == nil {
				err = json.Unmarshal(data, &want)
			}
			if err != nil {
				t.Fatal(err)
			}
			f(t, m, want)
		})
	}
}

// forward returns the logits of all positions, the text taken in pieces.
func (w fixture) forward(t *testing.T, s *Session, ids []int32, pieces ...int) []float32 {
	t.Helper()
	var all []float32
	v, h := s.m.Config.Vocab, s.m.Config.Hidden
	for len(ids) > 0 {
		n := len(ids)
		if len(pieces) > 0 {
			n, pieces = min(n, pieces[0]), pieces[1:]
		}
		hidden, err := s.Forward(context.Background(), ids[:n])
		if err != nil {
			t.Fatal(err)
		}
		logits := make([]float32, n*v)
		s.m.Logits(s.m.Engine.NewActs(), logits, hidden[:n*h], n)
		all, ids = append(all, logits...), ids[n:]
	}
	return all
}

// check compares logits, which begin at a position, with those expected.
func (w fixture) check(t *testing.T, what string, logits []float32, from int) {
	t.Helper()
	worst := 0.0
	for i, p := range w.Positions {
		for j, want := range w.Logits[i] {
			if p >= from {
				worst = max(worst, math.Abs(float64(logits[(p-from)*len(w.Logits[i])+j])-want))
			}
		}
	}
	if !(worst/w.Std < 1e-4) {
		t.Errorf("%s: off by %.2g of the logits' deviation", what, worst/w.Std)
	}
}

// Every family gives the known logits, whole, in pieces, token by token, and after
// going back.
func TestFamilies(t *testing.T) {
	eachFixture(t, func(t *testing.T, m *Model, want fixture) {
		s := m.NewExactSession(len(want.IDs))
		want.check(t, "whole", want.forward(t, s, want.IDs), 0)
		s.Truncate(17)
		want.check(t, "from 17 on", want.forward(t, s, want.IDs[17:], 1, 2), 17)
		s.Truncate(0)
		want.check(t, "in pieces", want.forward(t, s, want.IDs, 5, 1, 1, 9), 0)
		s.Truncate(11)
		if _, err := s.Forward(context.Background(), []int32{1, 2, 3, 4}); err != nil {
			t.Fatal(err)
		}
		s.Truncate(12)
		s.Truncate(11)
		want.check(t, "after another ending", want.forward(t, s, want.IDs[11:]), 11)
		one := m.NewExactSession(len(want.IDs))
		pieces := make([]int, len(want.IDs))
		for i := range pieces {
			pieces[i] = 1
		}
		want.check(t, "token by token", want.forward(t, one, want.IDs, pieces...), 0)
	})
}

// A model with rotations of its own for long texts takes them for texts that are
// expected to be long, and forgets what it has when that changes.
func TestLongRotations(t *testing.T) {
	eachFixture(t, func(t *testing.T, m *Model, want fixture) {
		s := m.NewExactSession(0)
		s.Expect(len(want.IDs))
		want.check(t, "expected to be short", want.forward(t, s, want.IDs), 0)
		s.Expect(m.Config.Positions)
		if from := m.graph.LongFrom(); from > 0 {
			if s.Len() != 0 {
				t.Errorf("%d tokens are kept with other rotations", s.Len())
			}
			again := want.forward(t, s, want.IDs)
			if math.Abs(float64(again[len(again)-1])-want.Logits[len(want.Logits)-1][m.Config.Vocab-1]) < 1e-3*want.Std {
				t.Error("a long text is computed as a short one")
			}
		} else if s.Len() != len(want.IDs) {
			t.Errorf("%d tokens are kept of %d", s.Len(), len(want.IDs))
		}
	})
}

// Layer by layer the texts get the hidden states that a session gives them.
func TestFamiliesInStacks(t *testing.T) {
	eachFixture(t, func(t *testing.T, m *Model, want fixture) {
		ctx := context.Background()
		stack, err := m.NewStack([][]int32{want.IDs[:9], want.IDs})
		if err != nil {
			t.Fatal(err)
		}
		for range m.Config.Layers() {
			if err := stack.Advance(ctx, m); err != nil {
				t.Fatal(err)
			}
		}
		err = stack.Input(ctx, m, "head", func(x []float32, rows, cols int) error {
			logits := make([]float32, rows*m.Config.Vocab)
			m.Logits(m.Engine.NewActs(), logits, x, rows)
			if rows == len(want.IDs) {
				want.check(t, "stack", logits, 0)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
