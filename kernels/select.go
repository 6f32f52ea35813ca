package kernels

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
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
	CPU          CPU     `json:"cpu"`
	Total        int     `json:"total"` // shapes to measure
	BandwidthGBs float64 `json:"bandwidth_gbps"`
	PeakGOPS     float64 `json:"peak_gops"`
}

// ShapeMeasured reports the choice for one shape.
type ShapeMeasured struct {
	Choice Choice `json:"choice"`
	Done   int    `json:"done"`
	Total  int    `json:"total"`
}

// EventName implements Event.
func (SelectStarted) EventName() string { return "select_started" }

// EventName implements Event.
func (ShapeMeasured) EventName() string { return "kernel_choice" }

// SelectOptions configures Select.
type SelectOptions struct {
	Budget   time.Duration // for measuring all shapes; 2 s if 0
	CacheDir string        // where tables are kept; "" keeps none
	Refresh  bool          // measure again what is cached
}

// Select measures the candidates for every shape, installs the fastest of those
// that equal the reference, and returns the table. Shapes found in the cache are
// not measured. A cache that cannot be read or written costs a measurement, not
// an error: the error is ctx's.
func (e *Engine) Select(ctx context.Context, shapes []Shape, o SelectOptions, l Listener) (*Table, error) {
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
		t.BandwidthGBs, t.PeakGOPS = e.Roofline()
	}
	l.send(SelectStarted{ThisCPU(), len(missing), t.BandwidthGBs, t.PeakGOPS})
	b := selection{e: e, share: o.Budget / time.Duration(max(1, len(missing))), table: t}
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
		saveTable(t, o)
	}
	e.install(t)
	return t, nil
}

// selection is the state of one Select call.
type selection struct {
	e     *Engine
	share time.Duration // budget of one shape
	table *Table
	last  Shape // of weights
	w     *Linear
}

// weights makes a random matrix of a shape; the same one serves every batch
// size.
func (b *selection) weights(s Shape) (*Linear, error) {
	if b.w != nil && b.last.Format == s.Format && b.last.N == s.N && b.last.K == s.K {
		return b.w, nil
	}
	scheme, err := parseScheme(s.Format)
	if err != nil {
		return nil, err
	}
	q, err := NewQTensor(s.N, s.K, scheme)
	if err != nil {
		return nil, err
	}
	rng := rand.NewChaCha8([32]byte{1})
	// Random bytes are random codes; the padding of ragged rows stays zero.
	if s.K*scheme.Bits%32 == 0 {
		_, _ = rng.Read(q.Codes) // never fails
	}
	for i := range q.Scales {
		q.Scales[i] = 0x2000 + uint16(rng.Uint64())&0x83ff // 2^-7 to 2^-6, either sign
	}
	for i := range q.Zeros {
		q.Zeros[i] = uint8(rng.Uint64()) & uint8(scheme.MaxCode())
	}
	b.w, err = NewQuantLinear(q)
	b.last = s
	return b.w, err
}

// choose measures the candidates for one shape.
func (b *selection) choose(ctx context.Context, s Shape) (Choice, error) {
	w, err := b.weights(s)
	if err != nil {
		return Choice{}, err
	}
	x := make([]float32, s.M*s.K)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	acts := b.e.NewActs()
	acts.Set(x, s.M, s.K)
	qa, err := acts.quantized(ctx, b.e)
	if err != nil {
		return Choice{}, err
	}
	var candidates []intKernel
	var ms []Measurement
	for _, k := range b.e.ints {
		if k.Bits != w.quant.scheme.Bits {
			continue
		}
		if err := ctx.Err(); err != nil {
			return Choice{}, err
		}
		m := Measurement{Kernel: k.String(), ISA: k.ISA, OK: equalsReference(k, qa, w.quant)}
		if !m.OK {
			m.Note = "excluded: its result differs from the reference"
		}
		candidates, ms = append(candidates, k), append(ms, m)
	}
	// Plain Go never wins against assembly, and would spend the whole budget.
	if slices.ContainsFunc(ms, func(m Measurement) bool { return m.OK && m.ISA != Generic }) {
		candidates = slices.DeleteFunc(candidates, func(k intKernel) bool { return k.ISA == Generic })
		ms = slices.DeleteFunc(ms, func(m Measurement) bool { return m.ISA == Generic })
	}
	times := make([][]float64, len(candidates))
	dst := make([]float32, s.M*s.N)
	defer runtime.KeepAlive(w)
	const rounds = 3
	slice := b.share / time.Duration(rounds*len(candidates))
	for range rounds { // interleaved, so that a disturbance hits all alike
		for i, k := range candidates {
			if err := ctx.Err(); err != nil {
				return Choice{}, err
			}
			times[i] = append(times[i], b.time(k, dst, qa, w.quant, slice))
		}
	}
	ops, bytes := 2*float64(s.M)*float64(s.N)*float64(s.K), float64(w.Bytes())
	for i := range ms {
		slices.Sort(times[i])
		ms[i].NS = times[i][len(times[i])/2]
		ms[i].GOPS, ms[i].GBs = ops/ms[i].NS, bytes/ms[i].NS
	}
	slices.SortStableFunc(ms, func(a, b Measurement) int {
		if a.OK != b.OK {
			if a.OK {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.NS, b.NS)
	})
	if !ms[0].OK {
		return Choice{}, fmt.Errorf("no kernel computes %s %dx%d correctly", s.Format, s.N, s.K)
	}
	c := Choice{Shape: s, Kernel: ms[0].Kernel, ISA: ms[0].ISA, Candidates: ms}
	c.Reason, c.Roofline = b.table.explain(ms)
	return c, nil
}

// time runs a kernel for about the given time and returns nanoseconds a product.
func (b *selection) time(k intKernel, dst []float32, a *quantActs, w *packed, d time.Duration) float64 {
	start := time.Now()
	for n := 1; ; n++ {
		_ = b.e.pool.run(context.Background(), w.panels(), panelGrain(w.panels(), b.e.pool.threads, a.m), func(_, lo, hi int) {
			tokens(a.m, func(m0, m1 int) { k.run(dst, w.n, a, m0, m1, w, lo, hi) })
		})
		if took := time.Since(start); took >= d {
			return float64(took.Nanoseconds()) / float64(n)
		}
	}
}

// checkTokens bounds what the slow reference has to compute.
const checkTokens = 14

// equalsReference compares the first and last panels bit for bit.
func equalsReference(k intKernel, a *quantActs, w *packed) bool {
	m := min(a.m, checkTokens)
	want, got := make([]float32, m*w.n), make([]float32, m*w.n)
	for _, p := range []int{0, w.panels() - 1} {
		mulGeneric(want, w.n, a, 0, m, w, p, p+1)
		k.run(got, w.n, a, 0, m, w, p, p+1)
	}
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
			return false
		}
	}
	return true
}

// explain says why the first measurement won and how near it is to the nearer
// limit of the machine, in per cent.
func (t *Table) explain(ms []Measurement) (reason string, roofline float64) {
	reason = ms[0].Kernel
	switch {
	case len(ms) == 1:
		reason += ": the only candidate"
	case !ms[1].OK:
		reason += ": the only correct candidate"
	default:
		reason += fmt.Sprintf(": %.2fx the next (%s)", ms[1].NS/ms[0].NS, ms[1].Kernel)
	}
	if t.BandwidthGBs > 0 && t.PeakGOPS > 0 {
		memory, compute := 100*ms[0].GBs/t.BandwidthGBs, 100*ms[0].GOPS/t.PeakGOPS
		if memory > compute {
			return fmt.Sprintf("%s, %.0f %% of read bandwidth", reason, memory), memory
		}
		return fmt.Sprintf("%s, %.0f %% of the integer peak", reason, compute), compute
	}
	return reason, 0
}

// parseScheme reads the String form of a scheme.
func parseScheme(format string) (Scheme, error) {
	for _, bits := range []int{4, 8} {
		for _, group := range []int{0, 32, 64, 128} {
			for _, sym := range []bool{true, false} {
				if s := (Scheme{bits, group, sym}); s.String() == format {
					return s, nil
				}
			}
		}
	}
	return Scheme{}, fmt.Errorf("%w: %q", ErrScheme, format)
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
			return cmp.Or(cmp.Compare(slices.Index(Tiers(), a.ISA), slices.Index(Tiers(), b.ISA)),
				cmp.Compare(tileTokens(a.Kernel), tileTokens(b.Kernel)))
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
