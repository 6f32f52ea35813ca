package selector

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/matmul"
	"nibble/kernels/memory"
)

// Event is anything a selection reports while it runs.
type Event interface{ EventName() string }

// Listener receives events; it must not block. It may be nil.
type Listener func(Event)

func (l Listener) send(e Event) {
	if l != nil {
		l(e)
	}
}

// SelectStarted opens a selection.
type SelectStarted struct {
	CPU   cpu.CPU `json:"cpu"`
	Total int     `json:"total"` // shapes to measure
	Limits
}

// ShapeMeasured reports the choice for one shape.
type ShapeMeasured struct {
	Choice Choice `json:"choice"`
	Done   int    `json:"done"`
	Total  int    `json:"total"`
}

// EventName implements Event.
func (SelectStarted) EventName() string { return "select_started" }

// Unkept reports that what was measured could not be kept for the next time.
type Unkept struct {
	Why string `json:"why"`
}

// EventName implements Event.
func (Unkept) EventName() string { return "kernels_unkept" }

// EventName implements Event.
func (ShapeMeasured) EventName() string { return "kernel_choice" }

// SelectOptions configures Select.
type SelectOptions struct {
	Budget   time.Duration // for measuring all shapes; 2 s if 0
	CacheDir string        // where tables are kept; "" keeps none
	Refresh  bool          // measure again what is cached
	Busy     bool          // recall also what was measured on a busy machine
}

// Selector measures the kernels of products and chooses among them.
type Selector struct {
	*matmul.Products
	limits func() Limits
	waited func() time.Duration // cpu.Waited but in tests
	table  atomic.Pointer[Table]
}

// New returns one that has chosen nothing; limits measures those of the machine.
func New(p *matmul.Products, limits func() Limits) *Selector {
	return &Selector{Products: p, limits: limits, waited: cpu.Waited}
}

// Select measures the candidates for every shape, installs the fastest of those
// that equal the reference, and returns the table. Shapes found in the cache are
// not measured, unless they were chosen on a busy machine. A cache that cannot be
// read or written costs a measurement, not an error: the error is ctx's.
func (e *Selector) Select(ctx context.Context, shapes []Shape, o SelectOptions, l Listener) (*Table, error) {
	if o.Budget <= 0 {
		o.Budget = 2 * time.Second
	}
	t := e.loadTable(o)
	var missing []Shape
	for _, s := range shapes {
		if !slices.ContainsFunc(t.Choices, func(c Choice) bool { return c.Shape == s }) {
			missing = append(missing, s)
		}
	}
	if t.BandwidthGBs == 0 {
		t.Limits = e.limits()
	}
	l.send(SelectStarted{cpu.This(), len(missing), t.Limits})
	b := selection{e: e, share: o.Budget / time.Duration(max(1, len(missing))), table: t}
	defer b.free()
	for i, s := range missing {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, err := b.choose(ctx, s)
		if err != nil {
			return nil, err
		}
		t.Choices = append(t.Choices, c)
		l.send(ShapeMeasured{c, i + 1, len(missing)})
	}
	if len(missing) > 0 {
		if err := saveTable(t, o); err != nil {
			l.send(Unkept{err.Error()})
		}
	}
	e.install(t)
	return t, nil
}

// selection is the state of one Select call.
type selection struct {
	e     *Selector
	share time.Duration // budget of one shape
	table *Table
	last  Shape // of weights
	w     *matmul.Linear
	cold  []*format.Packed // copies of w, and w
}

// weights makes a random matrix of a shape; the same one serves every batch
// size.
func (b *selection) weights(s Shape) (*matmul.Linear, error) {
	if b.w != nil && b.last.Format == s.Format && b.last.N == s.N && b.last.K == s.K {
		return b.w, nil
	}
	scheme, err := format.Parse(s.Format)
	if err != nil {
		return nil, err
	}
	if b.w, err = matmul.RandomWeights(s.N, s.K, scheme); err != nil {
		return nil, err
	}
	b.last = s
	b.free()
	b.cold = []*format.Packed{b.w.Quant}
	for n, cold := b.w.Bytes(), coldBytes(b.w.Bytes()); n < cold; n += b.w.Bytes() {
		p := *b.w.Quant
		p.Memory = memory.New(int(p.Bytes()))
		copy(p.Memory.Bytes, b.w.Quant.Memory.Bytes)
		b.cold = append(b.cold, &p)
	}
	return b.w, nil
}

// free gives the memory of the weights back.
func (b *selection) free() {
	for _, p := range b.cold {
		p.Memory.Free()
	}
	b.cold = nil
}

// coldBytes is what a few tokens' products with a matrix stream through before they meet
// the same weights again, as a model's other matrices come between: a model is some
// fifty times its matrices. It is more than the caches of single cores hold, where
// one thread would look as good as all, and for matrices of a megabyte or two, more
// than a shared cache, from which other kernels are the fastest.
func coldBytes(matrix int64) int64 { return max(16<<20, min(50*matrix, 96<<20)) }

// choose measures the candidates for one shape: every kernel on all threads, and
// then, for the best of them, one thread and other cuts of the batch.
func (b *selection) choose(ctx context.Context, s Shape) (Choice, error) {
	w, err := b.weights(s)
	if err != nil {
		return Choice{}, err
	}
	defer runtime.KeepAlive(w)
	acts := b.e.NewActs()
	acts.Set(matmul.RandomActivations(s.M, s.K), s.M, s.K)
	qa, err := acts.Quantized(ctx, b.e.Products)
	if err != nil {
		return Choice{}, err
	}
	qa.Prepare(w.Quant.Format)
	r := &race{selection: b, a: qa, ws: b.cold[:1], dst: make([]float32, s.M*s.N), panels: w.Quant.Panels()}
	if s.M <= matmul.FewTokens {
		r.ws = b.cold
	}
	start, waited := time.Now(), b.e.waited()
	want := matmul.Reference(qa, w.Quant)
	same := map[string]bool{}
	for i, k := range b.e.Ints {
		key := k.Cut(s.M)
		if !k.Takes(w.Quant.Scheme) || same[key] && k.Tiles != nil {
			continue
		}
		same[key] = true
		r.add(matmul.Way{Kernel: i, Workers: b.e.Pool.Threads(), Block: matmul.PanelBlock})
		if !matmul.Equal(want, k, qa, w.Quant) {
			r.entries[len(r.entries)-1].note = "excluded: its result differs from the reference"
		}
	}
	// Plain Go never wins against assembly, and would spend the whole budget.
	if slices.ContainsFunc(r.entries, func(n *entry) bool { return n.note == "" && b.e.Ints[n.Kernel].ISA != cpu.Generic }) {
		r.entries = slices.DeleteFunc(r.entries, func(n *entry) bool { return b.e.Ints[n.Kernel].ISA == cpu.Generic })
	}
	if err := r.run(ctx, r.entries, b.share*3/4); err != nil {
		return Choice{}, err
	}
	best := r.ranked()[0]
	if best.note != "" {
		return Choice{}, fmt.Errorf("no kernel computes %s %dx%d correctly", s.Format, s.N, s.K)
	}
	var variants []*entry
	if b.e.Pool.Threads() > 1 && best.fastest() < serialBelow {
		variants = append(variants, r.add(matmul.Way{Kernel: best.Kernel, Workers: 1, Block: matmul.PanelBlock}))
	}
	if s.M > matmul.FewTokens {
		variants = append(variants, r.add(matmul.Way{Kernel: best.Kernel, Workers: b.e.Pool.Threads(), Block: matmul.PanelBlock / 2}), r.add(matmul.Way{Kernel: best.Kernel, Workers: b.e.Pool.Threads(), Block: 2 * matmul.PanelBlock}))
	}
	if len(variants) > 0 {
		if err := r.run(ctx, append(variants, best), b.share/4); err != nil {
			return Choice{}, err
		}
	}
	c := Choice{Shape: s}
	for _, n := range r.ranked() {
		c.Candidates = append(c.Candidates, n.measurement(b.e, s, float64(w.Bytes())))
	}
	c.Kernel, c.ISA, c.Workers, c.Block = c.Candidates[0].Kernel, c.Candidates[0].ISA, c.Candidates[0].Workers, c.Candidates[0].Block
	c.Reason, c.Roofline = b.table.explain(c.Candidates)
	c.Busy = float64(b.e.waited()-waited) / float64(time.Since(start)) / float64(b.e.Pool.Threads())
	if c.Busy > busyLimit {
		c.Reason += fmt.Sprintf("; other programs took %.0f %% of the time: to be measured again", 100*c.Busy)
	}
	return c, nil
}

// busyLimit is the share of the processors' time that other programs may take while
// a choice is made.
const busyLimit = 0.1

// serialBelow is the time of a product, in ns, above which a single thread is
// not tried.
const serialBelow = 100e3

// race is the measurement of one shape's candidates.
type race struct {
	*selection
	a       *matmul.QuantActs
	ws      []*format.Packed // the weights, more than once: they take turns
	turn    int
	dst     []float32
	panels  int // that are computed: all, or as many as the budget has time for
	entries []*entry
}

// entry is one candidate.
type entry struct {
	matmul.Way
	times []float64 // ns of a product, one a round
	note  string    // why it may not win
}

func (r *race) add(w matmul.Way) *entry {
	n := &entry{Way: w}
	r.entries = append(r.entries, n)
	return n
}

// fastest is the time of the round that was disturbed least: on a machine shared
// with others a median tells of them.
func (n *entry) fastest() float64 {
	if len(n.times) == 0 {
		return math.Inf(1)
	}
	return slices.Min(n.times)
}

// ranked sorts the entries: correct ones first, then by time.
func (r *race) ranked() []*entry {
	slices.SortStableFunc(r.entries, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(min(len(a.note), 1), min(len(b.note), 1)), cmp.Compare(a.fastest(), b.fastest()))
	})
	return r.entries
}

func (n *entry) measurement(e *Selector, s Shape, bytes float64) Measurement {
	k, ns := e.Ints[n.Kernel], n.fastest()
	m := Measurement{Kernel: k.String(), ISA: k.ISA, Workers: n.Workers, Block: n.Block, OK: n.note == "", Note: n.note}
	if !math.IsInf(ns, 1) {
		m.NS, m.GOPS, m.GBs = ns, 2*float64(s.M)*float64(s.N)*float64(s.K)/ns, bytes/ns
	}
	return m
}

// slowerLimits are how much slower than the fastest so far a candidate may be, after each
// round but the last, to be measured again: in the first it may have been disturbed.
var slowerLimits = []float64{3, 1.5}

// run measures entries for about the given time, in rounds, so that a disturbance
// hits all alike.
func (r *race) run(ctx context.Context, entries []*entry, budget time.Duration) error {
	rounds := len(slowerLimits) + 1
	slice := budget / time.Duration(rounds*len(entries))
	for round := range rounds {
		best := math.Inf(1)
		for _, n := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			n.times = append(n.times, r.time(n.Way, slice))
			if n.note == "" {
				best = min(best, n.fastest())
			}
		}
		if round < len(slowerLimits) {
			entries = slices.DeleteFunc(slices.Clone(entries), func(n *entry) bool { return n.fastest() > slowerLimits[round]*best })
		}
	}
	return nil
}

// time computes products for about the given time and returns nanoseconds a
// product, of all panels.
func (r *race) time(w matmul.Way, d time.Duration) float64 {
	e, panels := r.e, r.ws[0].Panels()
	start := time.Now()
	for n := 1; ; n++ {
		weights := r.ws[r.turn%len(r.ws)]
		r.turn++
		_ = e.Spread(context.Background(), w.Workers, w.Block, r.panels, r.a.M, true, func(_, lo, hi, m0, m1 int) { // without an end there is no error
			e.Ints[w.Kernel].Product(r.dst, r.a, m0, m1, weights, lo, hi, w.Block)
		})
		took := time.Since(start)
		if n == 1 && took > 2*d && r.a.M > 1 && r.panels == panels {
			// Too large to be measured in full: from now on as many panels as fit, which
			// for more than one token tell the same.
			r.panels = max(min(r.panels, 4*e.Pool.Threads()), int(int64(r.panels)*int64(d)/int64(took)))
			return float64(took.Nanoseconds())
		}
		if took >= d {
			return float64(took.Nanoseconds()) / float64(n) * float64(panels) / float64(r.panels)
		}
	}
}

// explain says why the first measurement won and how near it is to the nearer
// limit of the machine, in per cent.
func (t *Table) explain(ms []Measurement) (reason string, roofline float64) {
	reason = ms[0].String()
	switch {
	case len(ms) == 1:
		reason += ": the only candidate"
	case !ms[1].OK:
		reason += ": the only correct candidate"
	default:
		reason += fmt.Sprintf(": %.2fx the next (%s)", ms[1].NS/ms[0].NS, ms[1])
	}
	if t.BandwidthGBs == 0 || t.PeakGOPS == 0 {
		return reason, 0
	}
	memory, compute := 100*ms[0].GBs/t.BandwidthGBs, 100*ms[0].GOPS/t.PeakGOPS
	switch {
	case memory > 100:
		return fmt.Sprintf("%s, weights from the cache, %.0f %% of the integer peak", reason, compute), compute
	case memory > compute:
		return fmt.Sprintf("%s, %.0f %% of read bandwidth", reason, memory), memory
	}
	return fmt.Sprintf("%s, %.0f %% of the integer peak", reason, compute), compute
}

// Gain compares the installed choices with the static choice of the highest
// tier's largest tile and with the slowest candidates: geometric means over
// shapes of the time they would take.
func (t *Table) Gain() (overStatic, overWorst float64) {
	var static, worst float64
	n := 0
	for _, c := range t.Choices {
		var ok []Measurement
		for _, m := range c.Candidates {
			if m.OK {
				ok = append(ok, m)
			}
		}
		if len(ok) < 2 {
			continue
		}
		last := slices.MaxFunc(ok, func(a, b Measurement) int {
			return cmp.Or(cmp.Compare(slices.Index(cpu.Tiers(), a.ISA), slices.Index(cpu.Tiers(), b.ISA)),
				cmp.Compare(tileTokens(a.Kernel), tileTokens(b.Kernel)), cmp.Compare(a.Workers, b.Workers), -cmp.Compare(distance(a.Block), distance(b.Block)))
		})
		static += math.Log(last.NS / ok[0].NS)
		worst += math.Log(ok[len(ok)-1].NS / ok[0].NS)
		n++
	}
	if n == 0 {
		return 1, 1
	}
	return math.Exp(static / float64(n)), math.Exp(worst / float64(n))
}

// distance is how far a block is from the default.
func distance(block int) int { return max(block-matmul.PanelBlock, matmul.PanelBlock-block) }

// tileTokens reads the tokens of a kernel's name, "avx2 8x3".
func tileTokens(kernel string) int {
	n, err := strconv.Atoi(kernel[strings.LastIndex(kernel, "x")+1:])
	if err != nil {
		return 0
	}
	return n
}

// BenchShapes lists products of common models, for a look at the machine without
// one: the feed-forward matrices of models of 15 million, 110 million and 1.1
// billion parameters.
func BenchShapes(threads int) []Shape {
	var shapes []Shape
	for _, nk := range [][2]int{{768, 288}, {2048, 768}, {5632, 2048}} {
		for _, format := range []string{"w4 g32 sym", "w4 g128 sym", "w8 g32 sym"} {
			for _, m := range []int{1, 16, 256} {
				shapes = append(shapes, Shape{"matmul", format, nk[0], nk[1], m, threads})
			}
		}
	}
	return shapes
}
