package tune

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
)

// screening walks through the matrices in the order of the model and scores what
// is offered for each.
type screening struct {
	*search
	windows  []int // of the reference
	probe    *quant.Screen
	stack    *rt.Stack // the windows in the float model, before the layer in work
	ratios   map[string][]float64
	deadline time.Duration // of the run's time; 0: none
	weights  []float64     // by matrix: what screening it takes, in any unit
	total    int           // options of all matrices
	done     int
}

// screenWindows is how many windows judge a single matrix: enough to rank, since
// KL divergence varies far less between windows than perplexity. Of five sizes of
// the demo, recipes chosen by all 38 windows of a text lose 2 % less on other text
// than those chosen by four, some of them more: how the errors of the matrices meet,
// which no sum tells, weighs as much.
const screenWindows = 4

// spread lists n of total windows, evenly apart.
func spread(n, total int) []int {
	n = min(n, total)
	var out []int
	for i := range n {
		out = append(out, (2*i+1)*total/(2*n))
	}
	return out
}

// screen fills in what every option loses. With a budget it measures less: the
// rest follows from the errors of the outputs, or from experience.
func (s *search) screen(ctx context.Context) error {
	s.l.send(Phase{"screening", "every way to store each matrix, all else float"})
	w := &screening{search: s, windows: spread(screenWindows, s.ref.Windows()), ratios: map[string][]float64{}}
	if s.Budget > 0 {
		w.deadline = time.Duration(float64(s.Budget) * screenShare)
	}
	type place struct {
		*class
		at int
	}
	places := map[string]place{}
	for i := range s.classes {
		c := &s.classes[i]
		for j, m := range c.modules {
			places[m.Name] = place{c, j}
			w.total += len(c.options)
		}
	}
	modules := s.Source.Config.Modules()
	for _, m := range modules {
		w.weights = append(w.weights, w.effort(m))
	}
	for i, m := range modules {
		c := places[m.Name]
		var specs []quant.Spec
		var bytes []int64
		for _, o := range c.options {
			specs, bytes = append(specs, o.spec), append(bytes, o.each[c.at].bytes)
		}
		klds, err := w.module(ctx, i, m, specs, bytes)
		if err != nil {
			return err
		}
		for j := range c.options {
			c.options[j].each[c.at].alone = klds[j]
			c.options[j].alone += klds[j]
		}
	}
	return nil
}

// screenShare is the part of the budget by whose end screening is over.
const screenShare = 0.5

// effort is roughly what it takes to measure a matrix: the layers from its own on.
func (w *screening) effort(m model.Module) float64 {
	c := w.Source.Config
	layer := float64(4*c.Hidden*c.Hidden + 3*c.Hidden*c.Widths().Inner)
	left := c.Layers() - max(m.Layer, 0)
	if m.Kind == "head" {
		left = 0
	}
	return layer*float64(left) + float64(c.Hidden)*float64(c.Vocab) + float64(m.Rows)*float64(m.Cols)
}

// allowance is when the i-th matrix should be done with.
func (w *screening) allowance(i int) time.Duration {
	if w.deadline == 0 {
		return math.MaxInt64
	}
	rest := 0.0
	for _, e := range w.weights[i:] {
		rest += e
	}
	now := w.elapsed()
	return now + time.Duration(float64(w.deadline-now)*w.weights[i]/rest)
}

// heldBytes bounds the quantized matrices kept between the measurement of their
// error and that of their divergence.
const heldBytes = 256 << 20

// module returns the divergence that each spec is expected to cause.
func (w *screening) module(ctx context.Context, i int, m model.Module, specs []quant.Spec, bytes []int64) ([]float64, error) {
	w.l.send(Screening{m.Name, len(specs), w.done, w.total})
	until := w.allowance(i)
	held, size := map[quant.Spec]*kernels.QTensor{}, int64(0)
	quantize := func(s quant.Spec) (*kernels.QTensor, error) {
		if q := held[s]; q != nil {
			return q, nil
		}
		if w.probe == nil {
			var err error
			if w.probe, err = quant.NewScreen(w.Base, w.Source, w.Calibration); err != nil {
				return nil, err
			}
		}
		q, e, err := w.probe.Quantize(ctx, m, s)
		if err != nil {
			return nil, err
		}
		if k := keyOf(m, s); math.IsNaN(w.scores.get(k).Err) {
			if err := w.keep(k, &e, nil); err != nil {
				return nil, err
			}
		}
		if size += q.Bytes(); size <= heldBytes {
			held[s] = q
		}
		return q, nil
	}
	errs := make([]float64, len(specs))
	for _, j := range farFirst(bytes) {
		if specs[j].Kept() {
			continue
		}
		errs[j] = w.scores.get(keyOf(m, specs[j])).Err
		if math.IsNaN(errs[j]) && w.elapsed() < until {
			if _, err := quantize(specs[j]); err != nil {
				return nil, err
			}
			errs[j] = w.scores.get(keyOf(m, specs[j])).Err
		}
	}
	complete(errs, specs, m)
	w.done += len(specs)
	alive := survivors(bytes, errs)
	order := farFirst(pick(bytes, alive))
	w.done -= len(alive)
	klds := make([]float64, len(specs))
	for j := range klds {
		klds[j] = math.NaN()
	}
	for _, a := range order {
		j := alive[a]
		w.done++
		if specs[j].Kept() {
			klds[j] = 0
			continue
		}
		k := keyOf(m, specs[j])
		klds[j] = w.scores.get(k).KLD
		cached := !math.IsNaN(klds[j])
		if !cached {
			if w.elapsed() > until {
				continue
			}
			q, err := quantize(specs[j])
			if err != nil {
				return nil, err
			}
			if klds[j], err = w.measure(ctx, m, q); err != nil {
				return nil, err
			}
			if err := w.keep(k, nil, &klds[j]); err != nil {
				return nil, err
			}
		}
		w.l.send(Score{Module: m.Name, Spec: specs[j].String(), KLD: klds[j], Bytes: bytes[j], Cached: cached, Done: w.done, Total: w.total})
	}
	w.estimate(m, specs, errs, klds)
	return klds, nil
}

// keep keeps a score, for later runs as well: it must be of the model as it was
// when it was opened.
func (w *screening) keep(k scoreKey, err, kld *float64) error {
	if err := w.Source.Unchanged(); err != nil {
		return err
	}
	w.scores.add(w.scoresKey, k, err, kld)
	return nil
}

// measure is the KL divergence of the model with only this matrix quantized.
func (w *screening) measure(ctx context.Context, m model.Module, q *kernels.QTensor) (float64, error) {
	l, err := kernels.NewQuantLinear(q)
	if err != nil {
		return 0, err
	}
	alone := w.Base.With(map[string]*kernels.Linear{m.Name: l})
	var stack *rt.Stack
	if m.Kind == "embed" {
		if stack, err = w.ref.Stack(alone, w.windows); err != nil {
			return 0, err
		}
	} else {
		if err := w.reach(ctx, m); err != nil {
			return 0, err
		}
		stack = w.stack.Clone()
	}
	return w.ref.Divergence(ctx, alone, stack, w.windows)
}

// reach takes the windows through the layers before a matrix.
func (w *screening) reach(ctx context.Context, m model.Module) error {
	if w.stack == nil {
		var err error
		if w.stack, err = w.ref.Stack(w.Base, w.windows); err != nil {
			return err
		}
	}
	layer := m.Layer
	if m.Kind == "head" {
		layer = w.Source.Config.Layers()
	}
	for w.stack.Layer() < layer {
		if err := w.stack.Advance(ctx, w.Base); err != nil {
			return err
		}
	}
	return nil
}

// farFirst orders options so that those measured so far always span the sizes:
// the smallest, the largest, the middle, the middles between those.
func farFirst(bytes []int64) []int {
	rank := make([]int, len(bytes))
	for i := range rank {
		rank[i] = i
	}
	slices.SortStableFunc(rank, func(a, b int) int { return cmp.Compare(bytes[a], bytes[b]) })
	if len(rank) < 2 {
		return rank
	}
	out := []int{rank[0], rank[len(rank)-1]}
	gaps := [][2]int{{0, len(rank) - 1}}
	for len(gaps) > 0 {
		lo, hi := gaps[0][0], gaps[0][1]
		gaps = gaps[1:]
		if mid := (lo + hi) / 2; mid > lo {
			out = append(out, rank[mid])
			gaps = append(gaps, [2]int{lo, mid}, [2]int{mid, hi})
		}
	}
	return out
}

func pick(bytes []int64, at []int) []int64 {
	var out []int64
	for _, i := range at {
		out = append(out, bytes[i])
	}
	return out
}

// survivors lists the options whose divergence is worth measuring: those that no
// other beats clearly in error at no more bytes.
func survivors(bytes []int64, errs []float64) []int {
	const clearly = 0.8
	var out []int
	for i := range bytes {
		beaten := false
		for j := range bytes {
			beaten = beaten || bytes[j] <= bytes[i] && errs[j] < clearly*errs[i]
		}
		if !beaten {
			out = append(out, i)
		}
	}
	return out
}

// complete guesses the errors that were not measured: as typical errors have it,
// scaled by the nearest that was.
func complete(errs []float64, specs []quant.Spec, m model.Module) {
	scale := map[int]float64{} // by bits
	for _, bits := range []int{4, 8} {
		sum, n := 0.0, 0.0
		for i, s := range specs {
			if s.Bits == bits && !math.IsNaN(errs[i]) && errs[i] > 0 {
				sum, n = sum+math.Log(errs[i]/typicalError(s, m)), n+1
			}
		}
		if n > 0 {
			scale[bits] = math.Exp(sum / n)
		}
	}
	for i, s := range specs {
		if !math.IsNaN(errs[i]) {
			continue
		}
		f, ok := scale[s.Bits]
		if !ok {
			f = cmp.Or(scale[4], scale[8], 1)
		}
		errs[i] = f * typicalError(s, m)
	}
}

// typicalError is the relative error of a matrix's outputs, as seen in small
// language models.
func typicalError(s quant.Spec, m model.Module) float64 {
	width := s.Group
	if width == 0 {
		width = m.Cols
	}
	e := 0.009 * math.Pow(1.2, math.Log2(float64(width)/32))
	if s.Bits == 8 {
		e /= 287
	}
	if !s.Sym {
		e *= 0.88
	}
	if s.Top > 0 {
		e *= 1 - math.Pow(float64(s.Top)/100, 0.15) // the text that is not of these tokens
	}
	return e * quant.MethodNamed(s.Method).Error
}

// typicalRatio is the divergence of a model over the relative error of the outputs
// of one matrix, as seen in small language models.
func typicalRatio(kind string) float64 {
	switch kind {
	case "embed", "head":
		return 1
	case "down":
		return 0.3
	case "gate", "up":
		return 0.08
	}
	return 0.03
}

// estimate fills in the divergences that were not measured: the ratio of
// divergence to error varies little within a matrix.
func (w *screening) estimate(m model.Module, specs []quant.Spec, errs, klds []float64) {
	type point struct{ err, ratio float64 }
	var known []point
	for i := range specs {
		if !math.IsNaN(klds[i]) && errs[i] > 0 && klds[i] > 0 {
			known = append(known, point{errs[i], klds[i] / errs[i]})
		}
	}
	slices.SortFunc(known, func(a, b point) int { return cmp.Compare(a.err, b.err) })
	for _, p := range known {
		w.ratios[m.Kind] = append(w.ratios[m.Kind], p.ratio)
	}
	ratio := func(e float64) float64 {
		if len(known) == 0 {
			if r := slices.Sorted(slices.Values(w.ratios[m.Kind])); len(r) > 0 {
				return r[len(r)/2]
			}
			return typicalRatio(m.Kind)
		}
		i := slices.IndexFunc(known, func(p point) bool { return p.err >= e })
		switch {
		case i < 0:
			return known[len(known)-1].ratio
		case i == 0:
			return known[0].ratio
		}
		a, b := known[i-1], known[i]
		t := (math.Log(e) - math.Log(a.err)) / max(math.Log(b.err)-math.Log(a.err), 1e-9)
		return math.Exp((1-t)*math.Log(a.ratio) + t*math.Log(b.ratio))
	}
	for i, s := range specs {
		switch {
		case s.Kept():
			klds[i] = 0
		case math.IsNaN(klds[i]):
			klds[i] = errs[i] * ratio(errs[i])
		}
	}
}
