package quant

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"nibble/kernels"
)

// Rates says how fast a machine does each kind of work that quantizing is made
// of, on all threads of an engine.
type Rates struct {
	CPU     string      `json:"cpu"`
	Version int         `json:"version"` // of the methods
	ISA     kernels.ISA `json:"isa"`
	Threads int         `json:"threads"`

	Hash    float64 `json:"hash"`    // bytes of the source a second
	Write   float64 `json:"write"`   // bytes a second that are durable
	RTN     float64 `json:"rtn"`     // weights a second, as of the next two
	Sym     float64 `json:"sym"`     // with a search for the scale
	Asym    float64 `json:"asym"`    // and for the zero point
	Float   float64 `json:"float"`   // operations a second of products of floats
	Int     float64 `json:"int"`     // and of INT4 weights
	Columns float64 `json:"columns"` // weights a second that GPTQ corrects for an error
}

// typicalRates stand in where nothing was measured.
func typicalRates(threads int) Rates {
	n := float64(threads)
	return Rates{Threads: threads, Hash: 0.7e9 * n, Write: 0.5e9, RTN: 250e6 * n, Sym: 6e6 * n, Asym: 3e6 * n,
		Float: 45e9 * n, Int: 200e9 * n, Columns: 1e9 * n}
}

// measureFor is how long each kind of work is measured.
const measureFor = 120 * time.Millisecond

// Measuring reports that the machine is being measured, which takes about a
// second.
type Measuring struct{}

// EventName implements Event.
func (Measuring) EventName() string { return "quantize_measuring" }

// MeasureRates measures this machine in about a second, or recalls from dir what
// was measured before with the same CPU, methods, tier and threads. Without a dir
// nothing is kept.
func MeasureRates(ctx context.Context, eng *kernels.Engine, dir string, refresh bool, l Listener) (Rates, error) {
	r := Rates{CPU: kernels.ThisCPU().Name, Version: methodsVersion, ISA: eng.ISA(), Threads: eng.Threads()}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %s %d", r.CPU, r.Version, r.ISA, r.Threads))
	path := filepath.Join(dir, "rates-"+hex.EncodeToString(sum[:8])+".json")
	if dir != "" && !refresh {
		var old Rates
		if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &old) == nil && old.valid() &&
			old.CPU == r.CPU && old.Version == r.Version && old.ISA == r.ISA && old.Threads == r.Threads {
			return old, nil
		}
	}
	l.send(Measuring{})
	if err := r.measure(ctx, eng, dir); err != nil {
		return Rates{}, err
	}
	if dir != "" {
		r.save(dir, path) // a cache that cannot be written costs a second, the next time
	}
	return r, nil
}

// valid reports whether every rate can be divided by.
func (r Rates) valid() bool {
	for _, v := range []float64{r.Hash, r.Write, r.RTN, r.Sym, r.Asym, r.Float, r.Int, r.Columns} {
		if !(v > 0) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

func (r Rates) save(dir, path string) {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil || os.MkdirAll(dir, 0o755) != nil {
		return
	}
	f, err := os.CreateTemp(dir, ".rates-*")
	if err != nil {
		return
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if f.Close() == nil && err == nil {
		_ = os.Rename(f.Name(), path)
	}
}

// perSecond returns how much of work, of which f does amount, is done a second:
// the best of several goes, since other programs only take away.
func perSecond(ctx context.Context, amount float64, f func() error) (float64, error) {
	best := math.Inf(1)
	for start := time.Now(); time.Since(start) < measureFor || math.IsInf(best, 1); {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		begin := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		best = min(best, max(time.Since(begin).Seconds(), 1e-9))
	}
	return amount / best, nil
}

func (r *Rates) measure(ctx context.Context, eng *kernels.Engine, dir string) error {
	const rows, cols, tokens = 512, 1024, 512
	stored := make([]byte, 2*rows*cols) // BF16
	for i := range rows * cols {        // values of both signs that differ, the same each time
		v := kernels.F32ToBF16(float32(math.Sin(float64(i)*0.7) * math.Cos(float64(i)*0.013)))
		stored[2*i], stored[2*i+1] = byte(v), byte(v>>8)
	}
	w := kernels.NewMatrix(rows, cols)
	kernels.DecodeFloats(w.Data, stored, kernels.BF16)
	var err error
	measure := func(rate *float64, amount float64, f func() error) {
		if err == nil {
			*rate, err = perSecond(ctx, amount, f)
		}
	}
	var q *kernels.QTensor
	round := func(rows int, spec Spec) func() error {
		return func() (err error) {
			q, _, err = quantize(ctx, eng, rows, cols, spec, nil, func(buf []float32, r int) []float32 {
				kernels.DecodeFloats(buf, stored[2*r*cols:], kernels.BF16)
				return buf
			}, nil)
			return err
		}
	}
	measure(&r.Sym, rows/4*cols, round(rows/4, Spec{4, 32, true, MSE}))
	measure(&r.Asym, rows/4*cols, round(rows/4, Spec{4, 32, false, MSE}))
	measure(&r.RTN, rows*cols, round(rows, Spec{4, 32, true, RTN}))
	measure(&r.Hash, float64(eng.Threads()*len(stored)), func() error {
		eng.For(eng.Threads(), func(_, lo, hi int) {
			for range hi - lo {
				sha256.Sum256(stored)
			}
		})
		return nil
	})
	measure(&r.Write, float64(16*len(stored)), func() error { return writeDurably(dir, stored, 16) })
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
	// One block of GPTQ, less what the search for its scales takes.
	part := w.Sub(0, rows, 0, gptqBlock)
	h := newHessian(eng, gptqBlock)
	if err == nil {
		err = h.add(ctx, w.Data[:rows*gptqBlock], rows, gptqBlock)
	}
	if err == nil {
		err = h.flush(ctx)
	}
	if err != nil {
		return err
	}
	f, err := h.newFactor(ctx, 32)
	if err != nil {
		return err
	}
	var whole float64
	measure(&whole, 1, func() error {
		_, err := gptq(ctx, eng, part, f, Spec{4, 32, true, GPTQ}, nil)
		return err
	})
	corrected := float64(rows * gptqBlock * gptqBlock / 2)
	if err == nil {
		r.Columns = corrected / max(1/whole-rows*gptqBlock/r.Sym, 0.1/whole)
	}
	return err
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
