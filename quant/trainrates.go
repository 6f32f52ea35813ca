package quant

import (
	"context"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/quant/block"
)

// trainingWork is the operations of training a layer of some weights with some
// tokens, forward and twice as many backward, and the values that lie between, which
// are copied besides, and whose gradients take about as long as four more.
func trainingWork(hidden int, w arch.Widths, weights, tokens float64) (products, values float64) {
	return 6 * weights * tokens, 5 * tokens * layerValues(hidden, w)
}

// training is how long training a layer takes with some tokens in texts of a length.
func (r Rates) training(hidden int, w arch.Widths, weights, tokens, length float64) float64 {
	products, values := trainingWork(hidden, w, weights, tokens)
	return products/r.Train + values/r.TrainValues + 3*r.attending(tokens, length, w.Heads, w.HeadDim)/r.TrainAttend
}

// widthsOf are the dimensions of a layer as a description has them.
func widthsOf(s block.Shape) arch.Widths {
	return arch.Widths{Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, Inner: s.Inner}
}

// sampleTokens is what layers are measured with, in texts of sampleLength.
const sampleTokens, sampleLength = 1024, 512

// measureValues measures passes through a small layer and a smaller one, less what
// products and attention take, which have been measured. A pass copies what enters
// products, and compares what comes out, besides.
func (r *Rates) measureValues(ctx context.Context, eng *kernels.Engine) error {
	var token, values [2]float64 // seconds of a token, and its values
	for i, c := range [2]block.Shape{
		{Hidden: 128, Heads: 4, KVHeads: 2, HeadDim: 32, Inner: 384, Eps: 1e-5},
		{Hidden: 64, Heads: 8, KVHeads: 4, HeadDim: 8, Inner: 176, Eps: 1e-5},
	} {
		pass, weights, err := layerSeconds(ctx, eng, c, false)
		if err != nil {
			return err
		}
		rest := pass - 2*weights*sampleTokens/r.Float - r.attending(sampleTokens, sampleLength, c.Heads, c.HeadDim)
		token[i] = max(rest, 0.2*pass) / sampleTokens
		values[i] = layerValues(c.Hidden, widthsOf(c)) + float64(8*c.Hidden+c.Heads*c.HeadDim+c.Inner)
	}
	r.Values, r.Tokens = apart(token, values)
	return nil
}

// measureTraining measures the gradient of attention, and iterations of training a
// small layer and a smaller one, which differ in what products and values take.
// Attention has been measured.
func (r *Rates) measureTraining(ctx context.Context, eng *kernels.Engine) error {
	shapes := [2]block.Shape{
		{Hidden: 256, Heads: 4, KVHeads: 2, HeadDim: 64, Inner: 768, Eps: 1e-5},
		{Hidden: 64, Heads: 8, KVHeads: 4, HeadDim: 8, Inner: 176, Eps: 1e-5},
	}
	var forward, both float64 // seconds of attention
	for _, c := range shapes {
		g, err := gradientSeconds(ctx, eng, c)
		if err != nil {
			return err
		}
		f := r.attending(sampleTokens, sampleLength, c.Heads, c.HeadDim)
		forward, both = forward+f, both+f+g
	}
	r.TrainAttend = 3 * forward / both
	var value, products [2]float64 // seconds of a value, and operations for each
	for i, c := range shapes {
		pass, weights, err := layerSeconds(ctx, eng, c, true)
		if err != nil {
			return err
		}
		p, v := trainingWork(c.Hidden, widthsOf(c), weights, sampleTokens)
		rest := pass - 3*r.attending(sampleTokens, sampleLength, c.Heads, c.HeadDim)/r.TrainAttend
		value[i], products[i] = max(rest, 0.2*pass)/v, p/v
	}
	r.Train, r.TrainValues = apart(value, products)
	return nil
}

// gradientSeconds returns how long the gradient of a layer's attention takes.
func gradientSeconds(ctx context.Context, eng *kernels.Engine, c block.Shape) (float64, error) {
	of := func(heads int) kernels.Matrix { return kernels.NewMatrix(sampleLength, heads*c.HeadDim) }
	var texts []kernels.AttentionGradient
	for range sampleTokens / sampleLength {
		texts = append(texts, kernels.AttentionGradient{Dim: c.HeadDim, Q: of(c.Heads), K: of(c.KVHeads), V: of(c.KVHeads),
			Out: of(c.Heads), DOut: of(c.Heads), DQ: of(c.Heads), DK: of(c.KVHeads), DV: of(c.KVHeads)})
	}
	rate, err := perSecond(ctx, eng.Threads(), 1, func() error {
		eng.For(len(texts)*c.KVHeads, func(_, lo, hi int) {
			for i := lo; i < hi; i++ {
				eng.AttentionGradient(texts[i/c.KVHeads], i%c.KVHeads)
			}
		})
		return nil
	})
	return 1 / rate, err
}

// layerSeconds returns how long a pass through a layer of a shape takes, or an
// iteration of training it, and how many weights it has.
func layerSeconds(ctx context.Context, eng *kernels.Engine, c block.Shape, train bool) (seconds, weights float64, err error) {
	t, rs, err := sampleLayer(ctx, eng, c, sampleLength)
	if err != nil {
		return 0, 0, err
	}
	for _, w := range t.layer.W {
		weights += float64(w.Rows * w.Cols)
	}
	var all []int
	for i := range sampleTokens / sampleLength {
		x := make([]float32, sampleLength*c.Hidden)
		for j := range x {
			x[j] = float32((i+j*7)%13) / 13
		}
		t.x, t.y, all = append(t.x, x), append(t.y, x), append(all, i)
	}
	rate, err := perSecond(ctx, eng.Threads(), 1, func() error {
		_, err := t.loss(ctx, all, train)
		for _, r := range rs {
			if train {
				r.step(eng, 1e-6, 0.1)
				r.round(eng)
			}
		}
		return err
	})
	return 1 / rate, weights, err
}

// sampleLayer is a layer of a shape, to be trained on texts of at most some
// tokens.
func sampleLayer(ctx context.Context, eng *kernels.Engine, c block.Shape, tokens int) (*layerTrainee, []*rounding, error) {
	half := tokens * c.HeadDim / 2
	cos, sin := make([]float32, half), make([]float32, half)
	for i := range cos {
		cos[i], sin[i] = 0.8, 0.6
	}
	t := &layerTrainee{eng: eng, run: block.NewRun(eng), layer: block.Of(c, cos, sin)}
	t.layer.AttnNorm, t.layer.MLPNorm = make([]float32, c.Hidden), make([]float32, c.Hidden)
	for i := range t.layer.AttnNorm {
		t.layer.AttnNorm[i], t.layer.MLPNorm[i] = 1, 1
	}
	spec := Spec{Bits: 4, Group: 32, Sym: true, Method: RTN}
	q, k := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	shapes := [block.Matrices][2]int{{q, c.Hidden}, {k, c.Hidden}, {k, c.Hidden}, {c.Hidden, q}, {c.Inner, c.Hidden}, {c.Inner, c.Hidden}, {c.Hidden, c.Inner}}
	var rs []*rounding
	for i, s := range shapes {
		w := kernels.NewMatrix(s[0], s[1])
		for j := range w.Data {
			w.Data[j] = float32(j*31%17-8) / 256
		}
		q, _, err := quantize(ctx, eng, w.Rows, w.Cols, spec, nil, rowsOf(w), nil)
		if err != nil {
			return nil, nil, err
		}
		r := newRounding(eng, w, q, spec)
		t.layer.W[i], t.grads[i] = r.value, r.grad
		rs = append(rs, r)
	}
	return t, rs, nil
}
