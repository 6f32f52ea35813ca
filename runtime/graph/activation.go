package graph

import (
	"math"
	"sync"

	"nibble/kernels"
	"nibble/model/arch"
)

// activate stores act(gate) * up, or what a limit makes of it (see arch.MLP). A nil
// up is all ones. dst may be gate or up.
func activate(e *kernels.Engine, act arch.Activation, limit float32, dst, gate, up []float32) {
	switch {
	case limit == 0 && act == arch.SiLU && up != nil:
		e.SwiGLU(dst, gate, up)
	case limit != 0 || act == arch.SiLU || act == arch.GELUTanh:
		bySigmoid(e, act, limit, dst, gate, up)
	default:
		f := activations[act]
		for i, g := range gate {
			v := f(float64(g))
			if up != nil {
				v *= float64(up[i])
			}
			dst[i] = float32(v)
		}
	}
}

// exponents are memory for those of part of a row.
var exponents = sync.Pool{New: func() any { return new([256]float32) }}

// bySigmoid is activate for functions g * sigmoid(s): of SiLU, s is g; the tanh form of
// GELU has s = 2 sqrt(2/pi) (g + 0.044715 g^3); with a limit s is 1.702 g.
func bySigmoid(e *kernels.Engine, act arch.Activation, limit float32, dst, gate, up []float32) {
	memory := exponents.Get().(*[256]float32)
	defer exponents.Put(memory)
	for at := 0; at < len(gate); at += len(memory) {
		g, out := gate[at:min(at+len(memory), len(gate))], dst[at:min(at+len(memory), len(gate))]
		x := memory[:len(g)]
		for i, v := range g {
			switch {
			case limit != 0:
				x[i] = -1.702 * min(v, limit)
			case act == arch.GELUTanh:
				x[i] = -2 * sqrt2OverPi * (v + 0.044715*v*v*v)
			default:
				x[i] = -v
			}
		}
		e.Exp(x, x, 0)
		for i, v := range g {
			switch {
			case limit != 0:
				u := min(max(up[at+i], -limit), limit)
				out[i] = (u + 1) * min(v, limit) / (1 + x[i])
			case up != nil:
				out[i] = v / (1 + x[i]) * up[at+i]
			default:
				out[i] = v / (1 + x[i])
			}
		}
	}
}

// sqrt2OverPi is the root of 2/pi.
const sqrt2OverPi = 0.79788456080286536

// activations are the functions by name.
var activations = map[arch.Activation]func(float64) float64{
	arch.SiLU: func(v float64) float64 { return v / (1 + math.Exp(-v)) },
	arch.GELU: func(v float64) float64 { return v / 2 * (1 + math.Erf(v/math.Sqrt2)) },
	arch.GELUTanh: func(v float64) float64 {
		return v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
	},
	arch.ReLU:        func(v float64) float64 { return max(v, 0) },
	arch.ReLUSquared: func(v float64) float64 { return max(v, 0) * max(v, 0) },
}

// activateGradient stores the gradients of gate and up for d, that of what activate
// gives. dgate may be d; dup is nil where up is.
func activateGradient(e *kernels.Engine, act arch.Activation, limit float32, dgate, dup, d, gate, up []float32) {
	switch {
	case limit != 0:
		limitedGradient(limit, dgate, dup, d, gate, up)
	case act == arch.SiLU && up != nil:
		swiGLUGradient(e, dgate, dup, d, gate, up)
	default:
		f, slope := activations[act], slopes[act]
		for i, g := range gate {
			v := float64(d[i])
			if up != nil {
				dup[i] = float32(v * f(float64(g)))
				v *= float64(up[i])
			}
			dgate[i] = float32(v * slope(float64(g)))
		}
	}
}

// slopes are the derivatives of activations.
var slopes = map[arch.Activation]func(float64) float64{
	arch.SiLU: func(v float64) float64 {
		s := 1 / (1 + math.Exp(-v))
		return s * (1 + v*(1-s))
	},
	arch.GELU: func(v float64) float64 {
		return (1+math.Erf(v/math.Sqrt2))/2 + v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi)
	},
	arch.GELUTanh: func(v float64) float64 {
		t := math.Tanh(math.Sqrt(2/math.Pi) * (v + 0.044715*v*v*v))
		return (1+t)/2 + v/2*(1-t*t)*math.Sqrt(2/math.Pi)*(1+3*0.044715*v*v)
	},
	arch.ReLU: func(v float64) float64 {
		if v > 0 {
			return 1
		}
		return 0
	},
	arch.ReLUSquared: func(v float64) float64 { return 2 * max(v, 0) },
}

func swiGLUGradient(e *kernels.Engine, dgate, dup, d, gate, up []float32) {
	for i, g := range gate {
		dup[i] = -g
	}
	e.Exp(dup, dup, 0)
	for i, x := range dup {
		s := 1 / (1 + x) // silu(g) = g s, and its derivative is s (1 + g (1 - s))
		g, v := gate[i], d[i]
		dgate[i] = v * up[i] * s * (1 + g*(1-s))
		dup[i] = v * g * s
	}
}

// limitedGradient is that of (u + 1) g sigmoid(1.702 g); beyond the limit nothing
// changes.
func limitedGradient(limit float32, dgate, dup, d, gate, up []float32) {
	for i, v := range d {
		g, u := min(gate[i], limit), min(max(up[i], -limit), limit)
		s := sigmoid(1.702 * g)
		dgate[i], dup[i] = v*(u+1)*s*(1+1.702*g*(1-s)), v*g*s
		if gate[i] > limit {
			dgate[i] = 0
		}
		if u != up[i] {
			dup[i] = 0
		}
	}
}

// sigmoid is the logistic function, computed in float64.
func sigmoid(v float32) float32 { return float32(1 / (1 + math.Exp(-float64(v)))) }

// softplus is ln(1 + e^v), without overflow.
func softplus(v float64) float64 { return math.Log1p(math.Exp(-math.Abs(v))) + max(v, 0) }

// siluGradient multiplies gradients by the slope of silu.
func siluGradient(grad, x []float32) {
	for i, v := range x {
		s := sigmoid(v)
		grad[i] *= s * (1 + v*(1-s))
	}
}
