package runtime

import (
	"context"
	"math"
	"slices"

	"nibble/model/arch"
)

// recurrence is the size of what a step keeps from token to token: the last inputs
// of a convolution, and cells.
type recurrence struct {
	channels, kernel int
	cells            int
}

// state is a recurrence at work.
type state struct {
	tail  []float32 // the last kernel-1 inputs of the convolution, oldest first
	cells []float32
}

func (r recurrence) start() state {
	return state{make([]float32, (r.kernel-1)*r.channels), make([]float32, r.cells)}
}

func (t state) clone() state { return state{slices.Clone(t.tail), slices.Clone(t.cells)} }

// convolve is a causal convolution of each channel of n rows x, whose last inputs
// are kept; w is channels x kernel. dst is not x.
func (s *Session) convolve(t *state, dst, x, w, bias []float32, n, channels, kernel int) {
	s.m.Engine.For(channels, func(_, lo, hi int) {
		for c := lo; c < hi; c++ {
			weights := w[c*kernel : (c+1)*kernel]
			at := func(row int) float32 {
				if row >= 0 {
					return x[row*channels+c]
				}
				return t.tail[(kernel-1+row)*channels+c]
			}
			for r := range n {
				sum := float32(0)
				if bias != nil {
					sum = bias[c]
				}
				for j, v := range weights {
					sum += v * at(r-kernel+1+j)
				}
				dst[r*channels+c] = sum
			}
		}
	})
	keep := (kernel - 1) * channels
	all := append(slices.Clone(t.tail), x[:n*channels]...)
	copy(t.tail, all[len(all)-keep:])
}

// shortConv is a gated short convolution.
type shortConv struct {
	*arch.ShortConv
	in, out    linear
	conv, bias []float32
	state      int
}

func (c *compiler) shortConv(s *arch.ShortConv) operation {
	return &shortConv{s, c.linear(s.In), c.linear(s.Out), c.vector(s.Conv), c.vector(s.Bias), c.state(recurrence{channels: s.Width, kernel: s.Kernel})}
}

func (c *shortConv) run(ctx context.Context, s *Session, n int, x, dst []float32) error {
	b, w := &s.buf, c.Width
	b.wide = resize(b.wide, n*3*w)
	if err := s.mul(ctx, x, n, s.m.Config.Hidden, output{&c.in, b.wide}); err != nil {
		return err
	}
	b.gate, b.up = resize(b.gate, n*w), resize(b.up, n*w)
	s.rows(n, func(r int) {
		row := b.wide[r*3*w:]
		for i := range w {
			b.gate[r*w+i] = row[i] * row[2*w+i]
		}
	})
	s.convolve(&s.states[c.state], b.up, b.gate, c.conv, c.bias, n, w, c.Kernel)
	s.rows(n, func(r int) {
		for i, v := range b.wide[r*3*w+w:][:w] {
			b.up[r*w+i] *= v
		}
	})
	return s.mul(ctx, b.up, n, w, output{&c.out, dst})
}

// deltaRule is linear attention by the gated delta rule.
type deltaRule struct {
	*arch.DeltaRule
	in, z, a, b, out linear
	conv, aLog, bias []float32
	norm             *Norm
	state            int
}

func (c *compiler) deltaRule(d *arch.DeltaRule) operation {
	channels := 2*d.KeyHeads*d.KeyDim + d.ValueHeads*d.ValueDim
	return &deltaRule{DeltaRule: d, in: c.linear(d.In), z: c.linear(d.Z), a: c.linear(d.A), b: c.linear(d.B), out: c.linear(d.Out),
		conv: c.vector(d.Conv), aLog: c.vector(d.ALog), bias: c.vector(d.DtBias), norm: c.norm(d.Norm),
		state: c.state(recurrence{channels, d.Kernel, d.ValueHeads * d.KeyDim * d.ValueDim})}
}

func (d *deltaRule) run(ctx context.Context, s *Session, n int, x, dst []float32) error {
	b := &s.buf
	keys, values := d.KeyHeads*d.KeyDim, d.ValueHeads*d.ValueDim
	channels := 2*keys + values
	// Queries, keys and values in b.k, gates in b.gate, rates and decays in b.scores.
	if err := d.inputs(ctx, s, n, x); err != nil {
		return err
	}
	t := &s.states[d.state]
	b.v = resize(b.v, n*channels)
	s.convolve(t, b.v, b.k, d.conv, nil, n, channels, d.Kernel)
	s.rows(n, func(r int) { d.prepare(b.v[r*channels : (r+1)*channels]) })
	b.attn = resize(b.attn, n*values)
	per := d.ValueHeads / d.KeyHeads
	s.m.Engine.For(d.ValueHeads, func(_, lo, hi int) {
		for h := lo; h < hi; h++ {
			cells := t.cells[h*d.KeyDim*d.ValueDim:][:d.KeyDim*d.ValueDim]
			fall := math.Exp(float64(d.aLog[h]))
			for r := range n {
				row := b.v[r*channels:]
				kh := h / per * d.KeyDim
				rates := b.scores[r*2*d.ValueHeads:]
				decay := float32(math.Exp(-fall * Softplus(float64(rates[d.ValueHeads+h]+d.bias[h]))))
				d.token(cells, row[kh:][:d.KeyDim], row[keys+kh:][:d.KeyDim], row[2*keys+h*d.ValueDim:][:d.ValueDim],
					b.attn[r*values+h*d.ValueDim:][:d.ValueDim], decay, Sigmoid(rates[h]))
			}
		}
	})
	s.rows(n, func(r int) {
		out := b.attn[r*values : (r+1)*values]
		d.norm.Row(s.m.Engine, out, out)
		gate := b.gate[r*values : (r+1)*values]
		activate(s.m.Engine, arch.SiLU, out, gate, out)
	})
	return s.mul(ctx, b.attn, n, values, output{&d.out, dst})
}

// token updates the cells of a head and stores what the query finds there.
func (d *deltaRule) token(cells, q, k, v, out []float32, decay, rate float32) {
	known := make([]float32, len(v))
	for i, key := range k {
		for j, c := range cells[i*len(v) : (i+1)*len(v)] {
			known[j] += c * decay * key
		}
	}
	for j := range known {
		known[j] = rate * (v[j] - known[j])
	}
	clear(out)
	for i, key := range k {
		row := cells[i*len(v) : (i+1)*len(v)]
		for j, c := range row {
			row[j] = c*decay + key*known[j]
			out[j] += row[j] * q[i]
		}
	}
}

// prepare applies the activation to a row after its convolution, and brings queries
// and keys to length 1, queries less the root of their width.
func (d *deltaRule) prepare(row []float32) {
	for i, v := range row {
		row[i] = v * Sigmoid(v)
	}
	keys := d.KeyHeads * d.KeyDim
	for at := 0; at < 2*keys; at += d.KeyDim {
		x := row[at : at+d.KeyDim]
		squares := 0.0
		for _, v := range x {
			squares += float64(v) * float64(v)
		}
		f := 1 / math.Sqrt(squares+1e-6)
		if at < keys {
			f /= math.Sqrt(float64(d.KeyDim))
		}
		for i := range x {
			x[i] *= float32(f)
		}
	}
}

// inputs multiplies the chunk by the matrices of what enters, and sorts what they
// give.
func (d *deltaRule) inputs(ctx context.Context, s *Session, n int, x []float32) error {
	b, h := &s.buf, s.m.Config.Hidden
	keys, values, heads := d.KeyHeads*d.KeyDim, d.ValueHeads*d.ValueDim, d.ValueHeads
	channels := 2*keys + values
	b.k, b.gate, b.scores = resize(b.k, n*channels), resize(b.gate, n*values), resize(b.scores, n*2*heads)
	b.up = resize(b.up, n*2*heads)
	if !d.Grouped {
		b.q = resize(b.q, n*heads)
		if err := s.mul(ctx, x, n, h, output{&d.in, b.k}, output{&d.z, b.gate}, output{&d.b, b.up}, output{&d.a, b.q}); err != nil {
			return err
		}
		for r := range n {
			copy(b.scores[r*2*heads:], b.up[r*heads:(r+1)*heads])
			copy(b.scores[r*2*heads+heads:], b.q[r*heads:(r+1)*heads])
		}
		return nil
	}
	all, per := channels+values, heads/d.KeyHeads
	b.wide = resize(b.wide, n*all)
	if err := s.mul(ctx, x, n, h, output{&d.in, b.wide}, output{&d.b, b.up}); err != nil {
		return err
	}
	s.rows(n, func(r int) {
		from, to := b.wide[r*all:(r+1)*all], b.k[r*channels:(r+1)*channels]
		for g := range d.KeyHeads {
			copy(to[g*d.KeyDim:][:d.KeyDim], from)
			copy(to[keys+g*d.KeyDim:][:d.KeyDim], from[d.KeyDim:])
			from = from[2*d.KeyDim:]
			copy(to[2*keys+g*per*d.ValueDim:][:per*d.ValueDim], from)
			copy(b.gate[r*values+g*per*d.ValueDim:][:per*d.ValueDim], from[per*d.ValueDim:])
			from = from[2*per*d.ValueDim:]
			both := b.up[(r*d.KeyHeads+g)*2*per:]
			copy(b.scores[r*2*heads+g*per:][:per], both)
			copy(b.scores[r*2*heads+heads+g*per:][:per], both[per:])
		}
	})
	return nil
}

// Softplus is ln(1 + e^v), without overflow.
func Softplus(v float64) float64 { return math.Log1p(math.Exp(-math.Abs(v))) + max(v, 0) }

// ssm is a selective state space.
type ssm struct {
	*arch.SSM
	in, out                       linear
	conv, convBias, aLog, d, bias []float32
	norm                          *Norm
	state                         int
}

func (c *compiler) ssm(s *arch.SSM) operation {
	width := s.Heads * s.HeadDim
	return &ssm{SSM: s, in: c.linear(s.In), out: c.linear(s.Out), conv: c.vector(s.Conv), convBias: c.vector(s.ConvBias),
		aLog: c.vector(s.ALog), d: c.vector(s.D), bias: c.vector(s.DtBias), norm: c.norm(s.Norm),
		state: c.state(recurrence{width + 2*s.Groups*s.State, s.Kernel, width * s.State})}
}

func (m *ssm) run(ctx context.Context, s *Session, n int, x, dst []float32) error {
	b, width := &s.buf, m.Heads*m.HeadDim
	channels := width + 2*m.Groups*m.State
	all := width + channels + m.Heads
	b.wide = resize(b.wide, n*all)
	if err := s.mul(ctx, x, n, s.m.Config.Hidden, output{&m.in, b.wide}); err != nil {
		return err
	}
	b.k, b.v, b.attn = resize(b.k, n*channels), resize(b.v, n*channels), resize(b.attn, n*width)
	s.rows(n, func(r int) { copy(b.k[r*channels:(r+1)*channels], b.wide[r*all+width:]) })
	t := &s.states[m.state]
	s.convolve(t, b.v, b.k, m.conv, m.convBias, n, channels, m.Kernel)
	s.rows(n, func(r int) {
		row := b.v[r*channels : (r+1)*channels]
		for i, v := range row {
			row[i] = v * Sigmoid(v)
		}
	})
	s.m.Engine.For(m.Heads, func(_, lo, hi int) {
		for h := lo; h < hi; h++ {
			m.head(t.cells[h*m.HeadDim*m.State:][:m.HeadDim*m.State], h, n, b.v, b.wide, b.attn)
		}
	})
	s.rows(n, func(r int) {
		out := b.attn[r*width : (r+1)*width]
		activate(s.m.Engine, arch.SiLU, out, b.wide[r*all:][:width], out)
		m.norm.Row(s.m.Engine, out, out)
	})
	return s.mul(ctx, b.attn, n, width, output{&m.out, dst})
}

// head takes n tokens through a head: rows of x, B and C from mixed, time steps
// from the end of rows of in.
func (m *ssm) head(cells []float32, h, n int, mixed, in, out []float32) {
	width := m.Heads * m.HeadDim
	channels := width + 2*m.Groups*m.State
	group := h / (m.Heads / m.Groups) * m.State
	rate := math.Exp(float64(m.aLog[h]))
	for r := range n {
		row := mixed[r*channels:]
		b, c := row[width+group:][:m.State], row[width+m.Groups*m.State+group:][:m.State]
		dt := max(Softplus(float64(in[(r+1)*(width+channels+m.Heads)-m.Heads+h]+m.bias[h])), float64(m.DtMin))
		if m.DtMax > 0 {
			dt = min(dt, float64(m.DtMax))
		}
		decay := float32(math.Exp(-dt * rate))
		for i := range m.HeadDim {
			v, y := row[h*m.HeadDim+i], float32(0)
			gain := float32(dt) * v
			cell := cells[i*m.State : (i+1)*m.State]
			for j := range cell {
				cell[j] = cell[j]*decay + gain*b[j]
				y += cell[j] * c[j]
			}
			out[r*width+h*m.HeadDim+i] = y + m.d[h]*v
		}
	}
}
