package train

import (
	"context"

	"nibble/kernels"
	rt "nibble/runtime"
	"nibble/runtime/graph"
)

// Head is the end of a model that is trained as a whole: the last norm and the
// output head, whose distributions are to be those of the float model.
type Head struct {
	eng    *kernels.Engine
	norm   *graph.Norm    // nil for none
	head   *graph.Head    // as it is trained, floats
	goal   graph.Head     // of the float model,
	wanted kernels.Matrix // its matrix
	turned kernels.Matrix // the transpose of head
	Want   [][]float32    // what enters the head in the float model, by sample

	Normed                              kernels.Matrix // what enters the head
	states, dnormed, dx, inputs         kernels.Matrix
	logits, target                      kernels.Matrix
	slopes                              kernels.Matrix // of the cap at logits
	normedTransposed, dlogitsTransposed kernels.Matrix
}

// NewHead takes the samples through the float model.
func NewHead(ctx context.Context, base *rt.Model, texts [][]int32, g *graph.Graph) (Head, error) {
	c, eng := base.Config, base.Engine
	t := Head{eng: eng, norm: g.Norm, head: &g.Head, goal: base.Head(), wanted: Floats(base.Linear(c.Head.Path)), turned: kernels.NewMatrix(c.Head.Cols, c.Vocab)}
	eng.Transpose(t.turned, t.head.Value)
	end, err := base.NewStack(texts)
	if err != nil {
		return t, err
	}
	for range c.Layers() {
		if err := end.Advance(ctx, base); err != nil {
			return t, err
		}
	}
	err = end.Input(ctx, base, "head", func(x []float32, rows, cols int) error {
		t.Want = append(t.Want, append([]float32{}, x...))
		return nil
	})
	return t, err
}

// trained reports whether the head is among what is trained.
func (t *Head) trained() bool { return t.head.Gradient.Data != nil }

// prepare takes note of the head as it is now.
func (t *Head) prepare() {
	if !t.trained() {
		return
	}
	t.eng.Transpose(t.turned, t.head.Value)
	t.head.SetUnits(t.eng)
}

// HeadRows is how many positions have logits at a time.
const HeadRows = 128

// divergence sums up the KL divergence of texts' outputs, and its gradient with
// respect to what leaves the last layer.
func (t *Head) divergence(ctx context.Context, x kernels.Matrix, p part, gradient bool) (float64, kernels.Matrix, error) {
	n, h, v := x.Rows, t.head.Value.Cols, t.head.Value.Rows
	if t.states.Rows != n {
		t.states, t.dnormed, t.dx = kernels.NewMatrix(n, x.Cols), kernels.NewMatrix(n, h), kernels.NewMatrix(n, x.Cols)
	}
	t.each(n, func(i int) {
		if t.norm == nil {
			copy(t.states.Row(i), x.Row(i))
		} else {
			t.norm.Row(t.eng, t.states.Row(i), x.Row(i))
		}
	})
	var err error
	if t.Normed, err = t.head.Enter(ctx, t.eng, t.states); err != nil {
		return 0, x, err
	}
	inputs := p.gather(&t.inputs, t.Want)
	if t.logits.Data == nil {
		t.logits, t.target = kernels.NewMatrix(HeadRows, v), kernels.NewMatrix(HeadRows, v)
		if t.head.Capped() {
			t.slopes = kernels.NewMatrix(HeadRows, v)
		}
	}
	total := 0.0
	sums := make([]float64, HeadRows)
	for r0 := 0; r0 < n; r0 += HeadRows {
		r1 := min(r0+HeadRows, n)
		logits, target, normed := t.logits.Sub(0, r1-r0, 0, v), t.target.Sub(0, r1-r0, 0, v), t.Normed.Sub(r0, r1, 0, h)
		if err := t.eng.MulTransposed(ctx, logits, normed, t.head.Value); err != nil {
			return 0, x, err
		}
		if err := t.eng.MulTransposed(ctx, target, inputs.Sub(r0, r1, 0, h), t.wanted); err != nil {
			return 0, x, err
		}
		t.each(r1-r0, func(i int) {
			t.goal.Finish(target.Row(i), nil)
			t.head.Finish(logits.Row(i), t.slopesRow(i))
			sums[i] = divergenceRow(t.eng, logits.Row(i), target.Row(i))
			t.head.Unfinish(logits.Row(i), t.slopesRow(i))
		})
		for _, s := range sums[:r1-r0] {
			total += s
		}
		if !gradient {
			continue
		}
		if err := t.eng.MulTransposed(ctx, t.dnormed.Sub(r0, r1, 0, h), logits, t.turned); err != nil {
			return 0, x, err
		}
		if t.trained() {
			if err := t.addHead(ctx, logits, normed); err != nil {
				return 0, x, err
			}
		}
	}
	if !gradient {
		return total, x, nil
	}
	d, err := t.head.EnterGradient(ctx, t.eng, t.dnormed)
	if t.norm == nil || err != nil {
		return total, d, err
	}
	t.each(n, func(i int) { t.norm.Gradient(t.dx.Row(i), d.Row(i), x.Row(i)) })
	return total, t.dx, nil
}

func (t *Head) each(n int, f func(i int)) {
	t.eng.For(n, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			f(i)
		}
	})
}

// slopesRow is nil without a cap.
func (t *Head) slopesRow(i int) []float32 {
	if !t.head.Capped() {
		return nil
	}
	return t.slopes.Row(i)
}

// addHead adds to the head's gradient, for some positions, the products of the
// gradients of their logits and of what entered the head.
func (t *Head) addHead(ctx context.Context, dlogits, normed kernels.Matrix) error {
	rows, cols := t.head.Value.Rows, t.head.Value.Cols
	if t.dlogitsTransposed.Data == nil {
		t.dlogitsTransposed, t.normedTransposed = kernels.NewMatrix(rows, HeadRows), kernels.NewMatrix(cols, HeadRows)
	}
	a, b := t.dlogitsTransposed.Sub(0, rows, 0, dlogits.Rows), t.normedTransposed.Sub(0, cols, 0, normed.Rows)
	t.eng.Transpose(a, dlogits)
	t.eng.Transpose(b, normed)
	if t.head.Units == nil {
		return t.eng.AddMulTransposed(ctx, t.head.Gradient, a, b)
	}
	part := kernels.NewMatrix(rows, cols)
	if err := t.eng.MulTransposed(ctx, part, a, b); err != nil {
		return err
	}
	t.each(rows, func(i int) { // without what changes lengths alone
		w, d := t.head.Value.Row(i), part.Row(i)
		along := kernels.Dot(w, d) * t.head.Units[i] * t.head.Units[i]
		for j := range d {
			d[j] -= along * w[j]
		}
		t.eng.Add(t.head.Gradient.Row(i), d)
	})
	return nil
}

// divergenceRow returns the KL divergence of the distribution of logits from that
// of target, and replaces logits by its gradient and target by its distribution.
func divergenceRow(eng *kernels.Engine, logits, target []float32) float64 {
	la, lb := eng.LogSumExp(target), eng.LogSumExp(logits)
	shift := float32(lb - la) // log p - log q = (target - la) - (logits - lb)
	sum := 0.0
	const part = 256
	for at := 0; at < len(logits); at += part {
		q, p := logits[at:min(at+part, len(logits))], target[at:min(at+part, len(logits))]
		var diff [part]float32
		for i := range q {
			diff[i] = p[i] - q[i] + shift
		}
		eng.Exp(p, p, float32(la))
		eng.Exp(q, q, float32(lb))
		sum += float64(kernels.Dot(p, diff[:len(p)]))
		for i := range q {
			q[i] -= p[i]
		}
	}
	return sum
}
