package reference

import (
	"math"

	"nibble/model/arch"
)

// convolve is a causal convolution of each channel, w being channels x kernel.
func convolve(x rows, w, bias []float64, kernel int) rows {
	out := make(rows, len(x))
	for t := range x {
		out[t] = make([]float64, len(x[t]))
		for c := range out[t] {
			for j := range kernel {
				if s := t - kernel + 1 + j; s >= 0 {
					out[t][c] += w[c*kernel+j] * x[s][c]
				}
			}
			if bias != nil {
				out[t][c] += bias[c]
			}
		}
	}
	return out
}

func (r *run) optional(v *arch.Vector) []float64 {
	if v == nil {
		return nil
	}
	return r.vector(v)
}

func (r *run) shortConv(s *arch.ShortConv, x rows) rows {
	in := r.linear(s.In, x)
	gated := make(rows, r.n)
	for t, row := range in {
		b, v := row[:s.Width], row[2*s.Width:]
		gated[t] = make([]float64, s.Width)
		for i := range v {
			gated[t][i] = b[i] * v[i]
		}
	}
	y := convolve(gated, r.vector(s.Conv), r.optional(s.Bias), s.Kernel)
	for t, row := range in {
		for i, c := range row[s.Width : 2*s.Width] {
			y[t][i] *= c
		}
	}
	return r.linear(s.Out, y)
}

func softplus(v float64) float64 { return math.Log1p(math.Exp(-math.Abs(v))) + max(v, 0) }

func silu(v float64) float64 { return v * sigmoid(v) }

func (r *run) deltaRule(d *arch.DeltaRule, x rows) rows {
	mixed, z, b, a := r.deltaInputs(d, x)
	mixed = convolve(mixed, r.vector(d.Conv), nil, d.Kernel)
	aLog, bias := r.vector(d.ALog), r.vector(d.DtBias)
	keys, values := d.KeyHeads*d.KeyDim, d.ValueHeads*d.ValueDim
	states := make([][]float64, d.ValueHeads) // KeyDim x ValueDim
	for h := range states {
		states[h] = make([]float64, d.KeyDim*d.ValueDim)
	}
	out := make(rows, r.n)
	for t, row := range mixed {
		for i := range row {
			row[i] = silu(row[i])
		}
		out[t] = make([]float64, values)
		for h := range d.ValueHeads {
			kh := h / (d.ValueHeads / d.KeyHeads)
			q := unit(row[kh*d.KeyDim : (kh+1)*d.KeyDim])
			k := unit(row[keys+kh*d.KeyDim : keys+(kh+1)*d.KeyDim])
			v := row[2*keys+h*d.ValueDim : 2*keys+(h+1)*d.ValueDim]
			decay := math.Exp(-math.Exp(aLog[h]) * softplus(a[t][h]+bias[h]))
			rate := sigmoid(b[t][h])
			s := states[h]
			for i := range s {
				s[i] *= decay
			}
			for j := range d.ValueDim {
				known := 0.0
				for i := range d.KeyDim {
					known += s[i*d.ValueDim+j] * k[i]
				}
				for i := range d.KeyDim {
					s[i*d.ValueDim+j] += k[i] * rate * (v[j] - known)
				}
				for i := range d.KeyDim {
					out[t][h*d.ValueDim+j] += s[i*d.ValueDim+j] * q[i] / math.Sqrt(float64(d.KeyDim))
				}
			}
		}
	}
	out = r.norm(d.Norm, out)
	for t := range out {
		for i, g := range z[t] {
			out[t][i] *= silu(g)
		}
	}
	return r.linear(d.Out, out)
}

// deltaInputs returns queries, keys and values side by side, gates, rates and
// decays.
func (r *run) deltaInputs(d *arch.DeltaRule, x rows) (mixed, z, b, a rows) {
	if !d.Grouped {
		return r.linear(d.In, x), r.linear(d.Z, x), r.linear(d.B, x), r.linear(d.A, x)
	}
	per := d.ValueHeads / d.KeyHeads
	for _, row := range r.linear(d.In, x) {
		var q, k, v, g []float64
		for range d.KeyHeads {
			q, row = append(q, row[:d.KeyDim]...), row[d.KeyDim:]
			k, row = append(k, row[:d.KeyDim]...), row[d.KeyDim:]
			v, row = append(v, row[:per*d.ValueDim]...), row[per*d.ValueDim:]
			g, row = append(g, row[:per*d.ValueDim]...), row[per*d.ValueDim:]
		}
		mixed, z = append(mixed, append(append(q, k...), v...)), append(z, g)
	}
	for _, row := range r.linear(d.B, x) {
		var tb, ta []float64
		for range d.KeyHeads {
			tb, ta = append(tb, row[:per]...), append(ta, row[per:2*per]...)
			row = row[2*per:]
		}
		b, a = append(b, tb), append(a, ta)
	}
	return mixed, z, b, a
}

// unit brings a vector to length 1.
func unit(x []float64) []float64 { return scaled(x, 1/math.Sqrt(dot(x, x)+1e-6)) }

func (r *run) ssm(s *arch.SSM, x rows) rows {
	width := s.Heads * s.HeadDim
	channels := width + 2*s.Groups*s.State
	in := r.linear(s.In, x)
	mixed := make(rows, r.n)
	for t, row := range in {
		mixed[t] = row[width : width+channels]
	}
	mixed = convolve(mixed, r.vector(s.Conv), r.optional(s.ConvBias), s.Kernel)
	aLog, d, bias := r.vector(s.ALog), r.vector(s.D), r.vector(s.DtBias)
	state := make([]float64, width*s.State)
	out := make(rows, r.n)
	for t, row := range mixed {
		for i := range row {
			row[i] = silu(row[i])
		}
		out[t] = make([]float64, width)
		for h := range s.Heads {
			group := h / (s.Heads / s.Groups)
			b := row[width+group*s.State : width+(group+1)*s.State]
			c := row[width+(s.Groups+group)*s.State : width+(s.Groups+group+1)*s.State]
			dt := max(softplus(in[t][width+channels+h]+bias[h]), float64(s.DtMin))
			if s.DtMax > 0 {
				dt = min(dt, float64(s.DtMax))
			}
			decay := math.Exp(-dt * math.Exp(aLog[h]))
			for i := range s.HeadDim {
				at := h*s.HeadDim + i
				v, y := row[at], 0.0
				for j := range s.State {
					cell := &state[at*s.State+j]
					*cell = *cell*decay + dt*v*b[j]
					y += *cell * c[j]
				}
				out[t][at] = (y + d[h]*v) * silu(in[t][at])
			}
		}
	}
	return r.linear(s.Out, r.norm(s.Norm, out))
}
