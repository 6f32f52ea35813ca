package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/kernels/durable"
	"nibble/quant/calib"
	"nibble/quant/cost"
	"nibble/quant/grid"
	"nibble/quant/method"
	"nibble/quant/pass"
)

// Each kind of work is measured some times, for so long.
var (
	measureTimes = 6
	measureFor   = 30 * time.Millisecond
)

// Measuring reports that the machine is being measured, which takes some seconds.
type Measuring struct{}

// EventName implements Event.
func (Measuring) EventName() string { return "quantize_measuring" }

// Unkept reports that what was measured could not be kept for the next time.
type Unkept struct {
	Why string `json:"why"`
}

// EventName implements Event.
func (Unkept) EventName() string { return "quantize_unkept" }

// MeasureRates measures this machine in some seconds, or recalls from dir what the
// same program measured before with the same CPU, tier and threads: another build
// may do the same work faster, and begins anew. Without a dir nothing is kept.
func MeasureRates(ctx context.Context, eng *kernels.Engine, dir string, refresh bool, l pass.Listener) (cost.Rates, error) {
	r := cost.Rates{CPU: kernels.ThisCPU().Name, Program: kernels.ProgramHash(), ISA: eng.ISA(), Threads: eng.Threads()}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", r.CPU, r.ISA, r.Threads))
	path := filepath.Join(dir, "rates-"+hex.EncodeToString(sum[:8])+".json")
	if dir != "" && !refresh {
		old, ok := readRates(path)
		if ok && old.CPU == r.CPU && old.Program == r.Program && r.Program != "" && old.ISA == r.ISA && old.Threads == r.Threads {
			return old, nil
		}
	}
	l.Send(Measuring{})
	if err := measureAll(ctx, eng, &r, dir); err != nil {
		return cost.Rates{}, err
	}
	if dir != "" {
		if err := saveRates(r, path); err != nil { // costs seconds, the next time
			l.Send(Unkept{err.Error()})
		}
	}
	return r, nil
}

// valid reports whether every rate can be divided by.
func valid(r cost.Rates) bool {
	for _, v := range []float64{r.Hash, r.Write, r.RTN, r.Sym, r.Asym, r.Table, r.Nearest, r.Float, r.Int, r.Attend, r.Scores, r.Values, r.Tokens, r.Columns, r.Train, r.TrainValues, r.TrainAttend} {
		if !(v > 0) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

// readRates reads what save wrote; ok is false if that is damaged or not there.
func readRates(path string) (r cost.Rates, ok bool) {
	data, err := os.ReadFile(path)
	if err == nil {
		data, err = durable.Unseal(data)
	}
	ok = err == nil && json.Unmarshal(data, &r) == nil && valid(r)
	return r, ok
}

func saveRates(r cost.Rates, path string) error {
	data, err := json.Marshal(r)
	if err == nil {
		data, err = durable.SealIndent(data)
	}
	if err != nil {
		return err
	}
	return durable.WriteFile(path, data)
}

// perSecond returns how much of work, of which f does amount, is done a second.
// Other programs only take away: it is the best of several goes, or what a number of
// threads took of processors if that is less.
func perSecond(ctx context.Context, threads int, amount float64, f func() error) (float64, error) {
	if err := f(); err != nil { // memory and code that are used for the first time
		return 0, err
	}
	best := math.Inf(1)
	for range measureTimes {
		goes, start, used := 0, time.Now(), processorTime()
		for ; time.Since(start) < measureFor || goes == 0; goes++ {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			begin := time.Now()
			if err := f(); err != nil {
				return 0, err
			}
			best = min(best, time.Since(begin).Seconds())
		}
		if d := processorTime() - used; d > 0 {
			best = min(best, d.Seconds()/float64(threads*goes))
		}
	}
	return amount / max(best, 1e-9), nil
}

func measureAll(ctx context.Context, eng *kernels.Engine, r *cost.Rates, dir string) error {
	const rows, cols, tokens = 512, 1024, 512
	stored := make([]byte, 2*rows*cols) // BF16
	for i := range rows * cols {        // values of both signs that differ, the same each time
		v := kernels.F32ToBF16(float32(math.Sin(float64(i)*0.7) * math.Cos(float64(i)*0.013)))
		stored[2*i], stored[2*i+1] = byte(v), byte(v>>8)
	}
	// What is fast comes and goes through memory: so many matrices under each other.
	const much = 32
	stored = slices.Repeat(stored, much)
	w := kernels.NewMatrix(rows, cols)
	kernels.DecodeFloats(w.Data, stored, kernels.BF16)
	var err error
	measure := func(rate *float64, amount float64, f func() error) {
		if err == nil {
			*rate, err = perSecond(ctx, eng.Threads(), amount, f)
		}
	}
	var q *kernels.QTensor
	round := func(rows int, s kernels.Scheme, how grid.Search) func() error {
		return func() (err error) {
			q, _, err = grid.Quantize(ctx, eng, rows, cols, s, how, func(buf []float32, r int) []float32 {
				kernels.DecodeFloats(buf, stored[2*r*cols:], kernels.BF16)
				return buf
			}, nil)
			return err
		}
	}
	sym := kernels.Scheme{Bits: 4, Group: 32, Sym: true}
	measure(&r.Sym, rows/4*cols, round(rows/4, sym, grid.Search{}))
	measure(&r.Asym, rows/4*cols, round(rows/4, kernels.Scheme{Bits: 4, Group: 32}, grid.Search{}))
	table := kernels.Scheme{Bits: 4, Group: 32, Sym: true, Table: kernels.NL4}
	measure(&r.Table, rows/4*cols, round(rows/4, table, grid.Search{}))
	measure(&r.Nearest, rows*cols, round(rows, table, grid.Search{Plain: true}))
	measure(&r.RTN, much*rows*cols, round(much*rows, sym, grid.Search{Plain: true}))
	measure(&r.Hash, float64(len(stored)), func() error {
		eng.For(eng.Threads(), func(_, lo, hi int) {
			sha256.Sum256(stored[lo*len(stored)/eng.Threads() : hi*len(stored)/eng.Threads()])
		})
		return nil
	})
	if err == nil {
		err = round(rows, sym, grid.Search{Plain: true})() // for the product below
	}
	if err == nil {
		// Once: a virtual disk takes the same blocks three times as fast again.
		const times = 2
		start := time.Now()
		if writeDurably(dir, stored, times) == nil {
			r.Write = float64(times*len(stored)) / time.Since(start).Seconds()
		} else { // a disk that is full there need not be so for the output
			r.Write = cost.Typical(eng.Threads()).Write
		}
	}
	product := kernels.NewMatrix(rows, rows)
	measure(&r.Float, 2*rows*rows*cols, func() error { return eng.MulTransposed(ctx, product, w, w) })
	if err != nil {
		return err
	}
	linear, err := kernels.NewQuantLinear(q)
	if err != nil {
		return err
	}
	acts, out := eng.NewActs(), make([]float32, tokens*rows)
	measure(&r.Int, 2*tokens*rows*cols, func() error {
		acts.Set(w.Data[:tokens*cols], tokens, cols)
		return eng.MatMul(ctx, acts, kernels.Product{W: linear, Dst: out})
	})
	if err == nil {
		err = measureAttention(ctx, eng, r, measure)
	}
	if err == nil {
		err = measureColumns(ctx, eng, r, w, measure)
	}
	if err == nil {
		err = measureValues(ctx, eng, r)
	}
	if err == nil {
		err = measureTraining(ctx, eng, r)
	}
	return err
}

// measureAttention measures attention to all before each of some positions, with
// heads that are wide and narrow.
func measureAttention(ctx context.Context, eng *kernels.Engine, r *cost.Rates, measure func(*float64, float64, func() error)) error {
	const tokens = 512
	var each, products [2]float64 // seconds and operations of a score
	for i, shape := range [2][2]int{{4, 64}, {8, 8}} {
		heads, dim := shape[0], shape[1]
		cache, err := kernels.NewKVCache(heads, dim, kernels.F32)
		if err != nil {
			return err
		}
		cache.Reserve(nil, tokens, 0)
		q, out := make([]float32, tokens*heads*dim), make([]float32, tokens*heads*dim)
		for p := range tokens {
			eng.Store(cache, p, q[:heads*dim], q[:heads*dim])
		}
		work, scores := cost.AttentionWork(tokens, tokens, heads, dim)
		var rate float64
		measure(&rate, scores, func() error { return eng.Attention(ctx, out, q, cache, heads, tokens, 0, kernels.AttentionRule{}) })
		each[i], products[i] = 1/rate, work/scores
	}
	r.Attend, r.Scores = apart(each, products)
	return ctx.Err()
}

// apart finds the rates of two kinds of work from how long a unit of the second
// takes with two amounts of the first.
func apart(each, amount [2]float64) (first, second float64) {
	const least = 0.05 // of the time, for either: measurements are not exact
	slope := (each[0] - each[1]) / (amount[0] - amount[1])
	slope = min(max(slope, least*each[0]/amount[0]), (1-least)*each[1]/amount[1])
	return 1 / slope, 1 / (each[1] - slope*amount[1])
}

// measureColumns measures a block of GPTQ, less what the search for its scales
// takes.
func measureColumns(ctx context.Context, eng *kernels.Engine, r *cost.Rates, w kernels.Matrix, measure func(*float64, float64, func() error)) error {
	part := w.Sub(0, w.Rows, 0, method.ColumnBlock)
	h := calib.NewHessian(eng, method.ColumnBlock)
	if err := errors.Join(h.Add(ctx, w.Data[:w.Rows*method.ColumnBlock], w.Rows, method.ColumnBlock), h.Flush(ctx)); err != nil {
		return err
	}
	f, err := h.NewFactor(ctx, 32)
	if err != nil {
		return err
	}
	var whole float64 // blocks a second
	measure(&whole, 1, func() (err error) {
		_, err = method.QuantizeColumns(ctx, eng, part, f, kernels.Scheme{Bits: 4, Group: 32, Sym: true}, nil)
		return err
	})
	if whole > 0 {
		weights := float64(part.Rows * part.Cols)
		r.Columns = weights * method.ColumnBlock / 2 / max(1/whole-weights/r.Sym, 0.1/whole)
	}
	return ctx.Err()
}

// writeDurably writes a file of n times data to dir, or to the directory for
// temporary files, and removes it.
func writeDurably(dir string, data []byte, n int) error {
	if dir != "" && os.MkdirAll(dir, 0o755) != nil {
		dir = ""
	}
	f, err := os.CreateTemp(dir, ".rates-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	for range n {
		if _, err := f.Write(data); err != nil {
			return err
		}
	}
	return f.Sync()
}
