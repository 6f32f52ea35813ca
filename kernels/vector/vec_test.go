package vector

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels/kerneltest"
)

// The operations on vectors are what they are called, in float64; that every tier has
// the same bits TestVectorOpsGiveTheSameBits says.
func TestVectorOps(t *testing.T) {
	e := testEngine(t, Options{Threads: 1})
	rng := rand.New(rand.NewPCG(5, 7))
	for _, n := range []int{1, 5, 8, 13, 300, 700} {
		x, w := kerneltest.Normals(rng, n), kerneltest.Normals(rng, n)
		var squares, exps float64
		for _, v := range x {
			squares += float64(v) * float64(v)
			exps += math.Exp(float64(v))
		}
		near := func(what string, got float32, want float64) {
			t.Helper()
			if math.Abs(float64(got)-want) > 2e-6*(math.Abs(want)+0.1) {
				t.Fatalf("%s of %d: %g, want %g", what, n, got, want)
			}
		}
		norm, gated, soft := make([]float32, n), make([]float32, n), slices.Clone(x)
		e.RMSNorm(norm, x, w, 0.25)
		e.SwiGLU(gated, x, w)
		e.Softmax(soft)
		lo, hi, cos, sin := slices.Clone(x), slices.Clone(w), kerneltest.Normals(rng, n), kerneltest.Normals(rng, n)
		e.Rotate(lo, hi, cos, sin)
		for i, v := range x {
			a, b, c, s := float64(v), float64(w[i]), float64(cos[i]), float64(sin[i])
			near("norm", norm[i], a*b/math.Sqrt(squares/float64(n)+0.25))
			near("SwiGLU", gated[i], a/(1+math.Exp(-a))*b)
			near("softmax", soft[i], math.Exp(a)/exps)
			near("first of a rotation", lo[i], a*c-b*s)
			near("second of a rotation", hi[i], b*c+a*s)
		}
		near("logarithm of the sum", float32(e.LogSumExp(x)), math.Log(exps))
	}
}

func TestExp32(t *testing.T) {
	for x := float32(-87); x < 88.37; x += 0.00931 {
		got, want := float64(Exp32(x)), math.Exp(float64(x))
		if math.Abs(got-want) > 3e-7*want {
			t.Fatalf("exp(%g) = %g, want %g", x, got, want)
		}
	}
	inf := float32(math.Inf(1))
	top := Exp32(88.37626)
	for x, want := range map[float32]float32{-100: 0, -inf: 0, 89: top, inf: top, 0: 1} {
		if got := Exp32(x); got != want {
			t.Errorf("exp(%g) = %g, want %g", x, got, want)
		}
	}
	if got := Exp32(float32(math.NaN())); got == got {
		t.Errorf("exp(NaN) = %g", got)
	}
}
