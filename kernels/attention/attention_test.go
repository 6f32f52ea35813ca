package attention

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
	"nibble/kernels/number"
	"nibble/kernels/vector"
)

// attentionCase is a cache filled with random keys and values, kept beside it in
// float32 as the cache holds them.
type attentionCase struct {
	heads, kv, dim, m, pos int
	dt                     number.DType
}

func (c attentionCase) fill(t testing.TB, e *Engine, rng *rand.Rand) (cache *KVCache, keys, values []float32) {
	t.Helper()
	cache, err := NewKVCache(c.kv, c.dim, c.dt)
	if err != nil {
		t.Fatal(err)
	}
	n := c.pos + c.m
	keys, values = kerneltest.Normals(rng, n*c.kv*c.dim), kerneltest.Normals(rng, n*c.kv*c.dim)
	if c.dt == number.F16 {
		for _, x := range [][]float32{keys, values} {
			for i, v := range x {
				x[i] = number.F16ToF32(number.F32ToF16(v))
			}
		}
	}
	for p := range n {
		if p%7 == 0 { // grows in steps, as a text does
			cache.Reserve(nil, p+7, p)
		}
		row := c.kv * c.dim
		e.Store(cache, p, keys[p*row:(p+1)*row], values[p*row:(p+1)*row])
	}
	return cache, keys, values
}

var attentionCases = []attentionCase{
	{4, 2, 32, 5, 0, number.F32}, {8, 4, 8, 3, 11, number.F16}, {2, 2, 6, 1, 40, number.F32}, {6, 1, 48, 9, 7, number.F16}, {6, 6, 48, 40, 3, number.F16},
	{1, 1, 64, 33, 0, number.F32}, {40, 1, 16, 5, 12, number.F32}, {32, 4, 64, 17, 20, number.F16}, {3, 3, 80, 2, 61, number.F16}, {2, 1, 300, 3, 3, number.F16},
	{8, 8, 64, 3, 30, number.F16}, {4, 4, 64, 2, 17, number.F32}, // blocks a multiple of 16 KiB apart, but for what keeps them from it
}

// rules gives each case's heads what plain attention lacks, in some combinations.
func (c attentionCase) rules(rng *rand.Rand) []AttentionRule {
	return []AttentionRule{
		{},
		{Window: 5, Slopes: kerneltest.Normals(rng, c.heads)},
		{Scale: 0.4, SoftCap: 1.5, Window: 19, Sinks: kerneltest.Normals(rng, c.heads)},
		{Sinks: kerneltest.Normals(rng, c.heads), Window: 1},
	}
}

// weight is what a query at pos gives a key at another position, before all are
// divided by their sum.
func (r AttentionRule) weight(dot float64, dim, head, pos, key int) float64 {
	score := dot / math.Sqrt(float64(dim))
	if r.Scale != 0 {
		score = dot * float64(r.Scale)
	}
	if r.SoftCap != 0 {
		score = float64(r.SoftCap) * math.Tanh(score/float64(r.SoftCap))
	}
	if r.Slopes != nil {
		score -= float64(r.Slopes[head]) * float64(pos-key)
	}
	if r.Window > 0 && key <= pos-r.Window {
		return 0
	}
	return math.Exp(score)
}

// Attention against the textbook formula in float64.
func TestAttention(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, isa := range cpu.Supported() {
		e := testEngine(t, Options{ISA: isa, Threads: 2})
		for _, c := range attentionCases {
			cache, keys, values := c.fill(t, e, rng)
			for _, rule := range c.rules(rng) {
				q := kerneltest.Normals(rng, c.m*c.heads*c.dim)
				got := make([]float32, len(q))
				kerneltest.Must(t, e.Attention(context.Background(), got, q, cache, c.heads, c.m, c.pos, rule))
				row := c.kv * c.dim
				for i := range c.m * c.heads {
					tok, h := i/c.heads, i%c.heads
					base := h / (c.heads / c.kv) * c.dim
					weights, total := make([]float64, c.pos+tok+1), 0.0
					if rule.Sinks != nil {
						total = math.Exp(float64(rule.Sinks[h]))
					}
					for j := range weights {
						dot := 0.0
						for d := range c.dim {
							dot += float64(q[i*c.dim+d]) * float64(keys[j*row+base+d])
						}
						weights[j] = rule.weight(dot, c.dim, h, c.pos+tok, j)
						total += weights[j]
					}
					for d := range c.dim {
						want := 0.0
						for j, w := range weights {
							want += w / total * float64(values[j*row+base+d])
						}
						if math.Abs(float64(got[i*c.dim+d])-want) > 1e-5 {
							t.Fatalf("%s %+v %+v query %d element %d: %g, want %g", isa, c, rule, i, d, got[i*c.dim+d], want)
						}
					}
				}
			}
		}
	}
}

// A token's attention has the same bits alone and in a batch, on any number of
// threads.
func TestAttentionDoesNotDependOnBatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, isa := range cpu.Supported() {
		e, one := testEngine(t, Options{ISA: isa, Threads: 3}), testEngine(t, Options{ISA: isa, Threads: 1})
		for _, c := range attentionCases {
			cache, _, _ := c.fill(t, e, rng)
			width := c.heads * c.dim
			for _, rule := range c.rules(rng) {
				q := kerneltest.Normals(rng, c.m*width)
				batch, alone := make([]float32, len(q)), make([]float32, width)
				kerneltest.Must(t, e.Attention(context.Background(), batch, q, cache, c.heads, c.m, c.pos, rule))
				for tok := range c.m {
					kerneltest.Must(t, one.Attention(context.Background(), alone, q[tok*width:(tok+1)*width], cache, c.heads, 1, c.pos+tok, rule))
					for i, v := range alone {
						if math.Float32bits(v) != math.Float32bits(batch[tok*width+i]) {
							t.Fatalf("%s %+v %+v token %d element %d: %g alone, %g in the batch", isa, c, rule, tok, i, v, batch[tok*width+i])
						}
					}
				}
			}
		}
	}
}

// BenchmarkAttention measures prefill of 512 tokens in 10^9 operations a second
// and a decode step at 4096 positions in GB/s of cache read, on one thread.
func BenchmarkAttention(b *testing.B) {
	for _, isa := range cpu.Supported()[1:] {
		e := testEngine(b, Options{ISA: isa, Threads: 1})
		for _, c := range []attentionCase{{12, 12, 64, 512, 0, number.F16}, {32, 4, 64, 512, 0, number.F16}, {12, 12, 64, 1, 4095, number.F16}, {32, 4, 64, 1, 4095, number.F16}, {12, 12, 64, 1, 4095, number.F32}} {
			cache, _, _ := c.fill(b, e, rand.New(rand.NewPCG(1, 1)))
			q := kerneltest.Normals(rand.New(rand.NewPCG(1, 1)), c.m*c.heads*c.dim)
			dst := make([]float32, len(q))
			b.Run(fmt.Sprintf("isa=%s/heads=%d-%d/dim=%d/m=%d/pos=%d/%s", isa, c.heads, c.kv, c.dim, c.m, c.pos, c.dt), func(b *testing.B) {
				ns := kerneltest.BestOf(b, func() {
					kerneltest.Must(b, e.Attention(context.Background(), dst, q, cache, c.heads, c.m, c.pos, AttentionRule{}))
				})
				seen := float64(c.m) * (float64(c.pos) + float64(c.m+1)/2)
				b.ReportMetric(4*seen*float64(c.heads*c.dim)/ns, "GFLOPS")
				if c.m == 1 {
					b.ReportMetric(float64(cache.Bytes())*float64(c.pos+1)/float64(cache.Cap())/ns, "GB/s")
				}
			})
		}
	}
}

// The gradients of attention against its slopes: those of the inner product of
// outputs and given weights, in float64. All tiers have the same, as
// TestAttentionGivesTheSameBits says.
func TestAttentionGradient(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	e := testEngine(t, Options{Threads: 2})
	for i, c := range []struct{ heads, kv, dim, n int }{{4, 2, 32, 70}, {2, 2, 6, 1}, {6, 1, 48, 37}, {3, 3, 80, 16}, {8, 4, 8, 150}, {4, 2, 8, 50}, {4, 2, 8, 50}} {
		matrix := func(heads int) vector.Matrix {
			return vector.Matrix{Rows: c.n, Cols: heads * c.dim, Stride: heads * c.dim, Data: kerneltest.Normals(rng, c.n*heads*c.dim)}
		}
		g := AttentionGradient{Dim: c.dim, Q: matrix(c.heads), K: matrix(c.kv), V: matrix(c.kv), DOut: matrix(c.heads),
			Out: matrix(c.heads), DQ: matrix(c.heads), DK: matrix(c.kv), DV: matrix(c.kv)}
		g.Rule = attentionCase{heads: c.heads}.rules(rng)[i%4]
		loss := func() float64 {
			total := 0.0
			for i := range c.n {
				for h := range c.heads {
					base := h / (c.heads / c.kv) * c.dim
					weights, sum := make([]float64, i+1), 0.0
					if g.Rule.Sinks != nil {
						sum = math.Exp(float64(g.Rule.Sinks[h]))
					}
					for j := range weights {
						dot := 0.0
						for d := range c.dim {
							dot += float64(g.Q.Row(i)[h*c.dim+d]) * float64(g.K.Row(j)[base+d])
						}
						weights[j] = g.Rule.weight(dot, c.dim, h, i, j)
						sum += weights[j]
					}
					for d := range c.dim {
						out := 0.0
						for j, w := range weights {
							out += w / sum * float64(g.V.Row(j)[base+d])
						}
						g.Out.Row(i)[h*c.dim+d] = float32(out)
						total += out * float64(g.DOut.Row(i)[h*c.dim+d])
					}
				}
			}
			return total
		}
		loss() // sets Out
		for h := range c.kv {
			e.AttentionGradient(g, h)
		}
		for name, m := range map[string][2]vector.Matrix{"query": {g.Q, g.DQ}, "key": {g.K, g.DK}, "value": {g.V, g.DV}} {
			for range 5 {
				at := rng.IntN(len(m[0].Data))
				const step = 1e-2
				was := m[0].Data[at]
				m[0].Data[at] = was + step
				up, high := loss(), float64(m[0].Data[at])
				m[0].Data[at] = was - step
				down, low := loss(), float64(m[0].Data[at])
				m[0].Data[at] = was
				if got, want := float64(m[1].Data[at]), (up-down)/(high-low); math.Abs(got-want) > 1e-3*(1+math.Abs(want)) {
					t.Errorf("%+v: gradient of %s %d is %g, the slope %g", c, name, at, got, want)
				}
			}
		}
	}
}
