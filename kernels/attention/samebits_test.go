package attention

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels/kerneltest"
	"nibble/kernels/vector"
)

// Attention and its gradient give the same bits in every tier.
func TestAttentionGivesTheSameBits(t *testing.T) {
	forTiers(t, func(t *testing.T, plain, e *Engine) {
		rng := rand.New(rand.NewPCG(3, 5))
		for _, c := range attentionCases {
			cache, _, _ := c.fill(t, e, rng)
			q := kerneltest.Normals(rng, c.m*c.heads*c.dim)
			for _, rule := range c.rules(rng) {
				got, want := make([]float32, len(q)), make([]float32, len(q))
				kerneltest.Must(t, e.Attention(context.Background(), got, q, cache, c.heads, c.m, c.pos, rule))
				kerneltest.Must(t, plain.Attention(context.Background(), want, q, cache, c.heads, c.m, c.pos, rule))
				kerneltest.SameBits(t, fmt.Sprintf("%+v %+v", c, rule), got, want)
			}
		}
		for i, c := range []attentionCase{{heads: 4, kv: 2, dim: 12, m: 37}, {heads: 3, kv: 3, dim: 80, m: 16}, {heads: 2, kv: 1, dim: 8, m: 70}, {heads: 2, kv: 2, dim: 6, m: 1}} {
			matrix := func(heads int) vector.Matrix {
				return vector.Matrix{Rows: c.m, Cols: heads * c.dim, Stride: heads * c.dim, Data: kerneltest.Normals(rng, c.m*heads*c.dim)}
			}
			g := AttentionGradient{Dim: c.dim, Rule: c.rules(rng)[i], Q: matrix(c.heads), K: matrix(c.kv), V: matrix(c.kv), DOut: matrix(c.heads), Out: matrix(c.heads)}
			gradients := func(e *Engine) []float32 {
				g.DQ, g.DK, g.DV = vector.NewMatrix(c.m, c.heads*c.dim), vector.NewMatrix(c.m, c.kv*c.dim), vector.NewMatrix(c.m, c.kv*c.dim)
				for h := range c.kv {
					e.AttentionGradient(g, h)
				}
				return slices.Concat(g.DQ.Data, g.DK.Data, g.DV.Data)
			}
			kerneltest.SameBits(t, fmt.Sprintf("gradient of %+v", c), gradients(e), gradients(plain))
		}
	})
}
