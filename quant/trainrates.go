package quant

import (
	"context"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/block"
)

// trainingWork is the operations of training a layer of some weights with some
// tokens, forward and twice as many backward: products and, apart, attention; and
// the values that lie between, whose gradients take about as long as four more.
func trainingWork(c model.Config, weights, tokens, length float64) (products, attention, values float64) {
	return 6 * weights * tokens, 3 * attentionWork(tokens, length, c.Heads, c.HeadDim), 5 * tokens * layerValues(c)
}

// measureTraining measures iterations of training a small layer on long texts and
// on as many tokens of short ones, which differ in attention alone.
func (r *Rates) measureTraining(ctx context.Context, eng *kernels.Engine) error {
	const tokens, long, short = 1024, 1024, 64
	c := model.Config{Hidden: 256, Heads: 4, KVHeads: 2, HeadDim: 64, Intermediate: 768, RMSEps: 1e-5}
	t, rs, err := sampleLayer(ctx, eng, c, long)
	if err != nil {
		return err
	}
	weights := 0
	for _, w := range t.layer.W {
		weights += w.Rows * w.Cols
	}
	seconds := func(length int) (float64, error) {
		t.x, t.y = nil, nil
		var all []int
		for i := range tokens / length {
			x := make([]float32, length*c.Hidden)
			for j := range x {
				x[j] = float32((i+j*7)%13) / 13
			}
			t.x, t.y, all = append(t.x, x), append(t.y, x), append(all, i)
		}
		rate, err := perSecond(ctx, eng.Threads(), 1, func() error {
			_, err := t.loss(ctx, all, true)
			for _, r := range rs {
				r.step(eng, 1e-6, 0.1)
				r.round(eng)
			}
			return err
		})
		return 1 / rate, err
	}
	ofLong, err := seconds(long)
	if err != nil {
		return err
	}
	ofShort, err := seconds(short)
	if err != nil {
		return err
	}
	products, attention, values := trainingWork(c, float64(weights), tokens, long)
	attending := min(max((ofLong-ofShort)/(1-float64(short)/long), 0.05*ofLong), 0.8*ofLong)
	multiplying := ofLong - attending
	r.Train, r.TrainAttend = products/max(multiplying-values/r.Values, 0.5*multiplying), attention/attending
	return nil
}

// sampleLayer is a layer of a shape, to be trained on texts of at most some
// tokens.
func sampleLayer(ctx context.Context, eng *kernels.Engine, c model.Config, tokens int) (*layerTrainee, []*rounding, error) {
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
	spec := Spec{4, 32, true, RTN}
	q, k := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	shapes := [block.Matrices][2]int{{q, c.Hidden}, {k, c.Hidden}, {k, c.Hidden}, {c.Hidden, q}, {c.Intermediate, c.Hidden}, {c.Intermediate, c.Hidden}, {c.Hidden, c.Intermediate}}
	var rs []*rounding
	for i, s := range shapes {
		w := kernels.NewMatrix(s[0], s[1])
		for j := range w.Data {
			w.Data[j] = float32(j*31%17-8) / 256
		}
		q, _, err := quantize(ctx, eng, w.Rows, w.Cols, spec, nil, func(_ []float32, r int) []float32 { return w.Row(r) }, nil)
		if err != nil {
			return nil, nil, err
		}
		r := newRounding(eng, w, q, spec)
		t.layer.W[i], t.grads[i] = r.value, r.grad
		rs = append(rs, r)
	}
	return t, rs, nil
}
