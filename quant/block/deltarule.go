package block

import (
	"context"
	"math"

	"nibble/kernels"
	"nibble/model/arch"
	rt "nibble/runtime"
)

// deltaRule is linear attention by the gated delta rule.
type deltaRule struct {
	*arch.DeltaRule
	in, z, a, b, out *linear
	conv             convolution
	aLog, bias       []float32
	norm             *rt.Norm

	wide, rates           kernels.Matrix // what in and b gave, where they are grouped
	entered, mixed        kernels.Matrix // queries, keys and values before and after the convolution
	ready                 kernels.Matrix // after the activation, queries and keys brought to their length
	gates, brate, arate   kernels.Matrix // gates of values; of each head its rate and decay
	read, normed, product kernels.Matrix // what queries find, and on its way out
}

func (c *compiler) deltaRule(d *arch.DeltaRule) operation {
	return &deltaRule{DeltaRule: d, in: c.linear(d.In), z: c.linear(d.Z), a: c.linear(d.A), b: c.linear(d.B), out: c.linear(d.Out),
		conv: convolution{c.vector(d.Conv), nil, d.Kernel}, aLog: c.vector(d.ALog), bias: c.vector(d.DtBias), norm: c.norm(d.Norm)}
}

// keys and values are elements of a token, channels those of queries, keys and
// values.
func (d *deltaRule) keys() int     { return d.KeyHeads * d.KeyDim }
func (d *deltaRule) values() int   { return d.ValueHeads * d.ValueDim }
func (d *deltaRule) channels() int { return 2*d.keys() + d.values() }

func (d *deltaRule) forward(ctx context.Context, b *Block, x, dst kernels.Matrix) error {
	if err := d.inputs(ctx, b, x); err != nil {
		return err
	}
	n := x.Rows
	d.mixed, d.ready = b.kept.matrix(n, d.channels()), b.kept.matrix(n, d.channels())
	d.conv.forward(b, d.mixed, d.entered)
	b.each(n, func(i int) {
		row := d.ready.Row(i)
		for j, v := range d.mixed.Row(i) {
			row[j] = v * rt.Sigmoid(v)
		}
		for at := 0; at < 2*d.keys(); at += d.KeyDim {
			f := d.unit(row[at:at+d.KeyDim], at)
			for j := range d.KeyDim {
				row[at+j] *= float32(f)
			}
		}
	})
	d.read, d.normed, d.product = b.kept.matrix(n, d.values()), b.kept.matrix(n, d.values()), b.kept.matrix(n, d.values())
	b.eachHead(d.KeyHeads, d.ValueHeads, func(h, first, n int) {
		cells := make([]float32, d.KeyDim*d.ValueDim)
		for t := first; t < first+n; t++ {
			token := d.token(h, t)
			token.step(cells, cells)
			token.find(cells, d.read.Row(t)[h*d.ValueDim:][:d.ValueDim])
		}
	})
	b.each(n, func(i int) {
		d.norm.Row(b.eng, d.normed.Row(i), d.read.Row(i))
		rt.Activate(b.eng, arch.SiLU, 0, d.product.Row(i), d.gates.Row(i), d.normed.Row(i))
	})
	return b.multiplyTo(ctx, d.out, dst, d.product)
}

// unit is what brings a query or key, which begins at a channel, to length 1, queries
// less the root of their width.
func (d *deltaRule) unit(x []float32, at int) float64 {
	squares := 0.0
	for _, v := range x {
		squares += float64(v) * float64(v)
	}
	f := 1 / math.Sqrt(squares+1e-6)
	if at < d.keys() {
		f /= math.Sqrt(float64(d.KeyDim))
	}
	return f
}

// inputs runs the matrices of what enters, and sorts what they give.
func (d *deltaRule) inputs(ctx context.Context, b *Block, x kernels.Matrix) (err error) {
	if d.wide, err = b.multiply(ctx, d.in, x); err != nil {
		return err
	}
	if d.rates, err = b.multiply(ctx, d.b, x); err != nil {
		return err
	}
	if !d.Grouped {
		d.entered, d.brate = d.wide, d.rates
		if d.gates, err = b.multiply(ctx, d.z, x); err != nil {
			return err
		}
		d.arate, err = b.multiply(ctx, d.a, x)
		return err
	}
	n := x.Rows
	d.entered, d.gates = b.kept.matrix(n, d.channels()), b.kept.matrix(n, d.values())
	d.brate, d.arate = b.kept.matrix(n, d.ValueHeads), b.kept.matrix(n, d.ValueHeads)
	b.each(n, func(i int) {
		d.sort(d.wide.Row(i), d.rates.Row(i), d.entered.Row(i), d.gates.Row(i), d.brate.Row(i), d.arate.Row(i), false)
	})
	return nil
}

// sort copies what lies together for each key head to what lies together for its use,
// or back.
func (d *deltaRule) sort(wide, rates, entered, gates, brate, arate []float32, back bool) {
	move := func(from *[]float32, to []float32) {
		if back {
			copy(*from, to)
		} else {
			copy(to, *from)
		}
		*from = (*from)[len(to):]
	}
	per := d.ValueHeads / d.KeyHeads
	width := per * d.ValueDim
	for g := range d.KeyHeads {
		move(&wide, entered[g*d.KeyDim:][:d.KeyDim])
		move(&wide, entered[d.keys()+g*d.KeyDim:][:d.KeyDim])
		move(&wide, entered[2*d.keys()+g*width:][:width])
		move(&wide, gates[g*width:][:width])
		move(&rates, brate[g*per:][:per])
		move(&rates, arate[g*per:][:per])
	}
}

// deltaToken is what a token does to the cells of a head, KeyDim x ValueDim.
type deltaToken struct {
	q, k, v     []float32
	decay, rate float32
	fall        float64 // the decay is exp(-fall * rt.Softplus(its input))
	change      []float32
}

// place returns the columns of a value head's query, key and value.
func (d *deltaRule) place(h int) (q, k, v int) {
	key := h / (d.ValueHeads / d.KeyHeads) * d.KeyDim
	return key, d.keys() + key, 2*d.keys() + h*d.ValueDim
}

func (d *deltaRule) token(h, t int) deltaToken {
	q, k, v := d.place(h)
	row, fall := d.ready.Row(t), math.Exp(float64(d.aLog[h]))
	return deltaToken{row[q:][:d.KeyDim], row[k:][:d.KeyDim], row[v:][:d.ValueDim],
		float32(math.Exp(-fall * rt.Softplus(float64(d.arate.Row(t)[h]+d.bias[h])))), rt.Sigmoid(d.brate.Row(t)[h]), fall, make([]float32, d.ValueDim)}
}

// step stores in next the cells after the token; next may be cells. What the key
// learns is left in change: rate * (v - what the key finds in the decayed cells).
func (t *deltaToken) step(next, cells []float32) {
	width := len(t.v)
	clear(t.change)
	for i, key := range t.k {
		for j, c := range cells[i*width : (i+1)*width] {
			t.change[j] += c * t.decay * key
		}
	}
	for j, known := range t.change {
		t.change[j] = t.rate * (t.v[j] - known)
	}
	for i, key := range t.k {
		for j, c := range cells[i*width : (i+1)*width] {
			next[i*width+j] = c*t.decay + key*t.change[j]
		}
	}
}

// find stores what the query finds in cells.
func (t *deltaToken) find(cells, out []float32) {
	clear(out)
	for i, q := range t.q {
		addTimes(out, cells[i*len(out):(i+1)*len(out)], q)
	}
}

// deltaGradient is where the gradients of a token's inputs go; those of queries and
// keys, which heads share, are added.
type deltaGradient struct {
	q, k, v     []float32
	decay, rate float32
}

// back turns dcells, the gradient of the cells next after the token, into that of the
// cells before, given that of what the query found.
func (t *deltaToken) back(g *deltaGradient, dcells, dout, cells, next []float32) {
	width := len(t.v)
	dchange := make([]float32, width)
	for i, q := range t.q {
		row := dcells[i*width : (i+1)*width]
		addTimes(row, dout, q)
		g.q[i] += kernels.Dot(next[i*width:(i+1)*width], dout)
		g.k[i] += kernels.Dot(row, t.change)
		addTimes(dchange, row, t.k[i])
	}
	found, dfound := make([]float32, width), make([]float32, width) // by the key in the decayed cells
	for i, key := range t.k {
		addTimes(found, cells[i*width:(i+1)*width], key*t.decay)
	}
	g.decay, g.rate = 0, 0
	for j, d := range dchange {
		g.v[j], dfound[j] = t.rate*d, -t.rate*d
		g.rate += d * (t.v[j] - found[j])
	}
	for i, key := range t.k {
		row, was := dcells[i*width:(i+1)*width], cells[i*width:(i+1)*width]
		g.k[i] += t.decay * kernels.Dot(was, dfound)
		addTimes(row, dfound, key)
		g.decay += kernels.Dot(was, row)
		for j := range row {
			row[j] *= t.decay
		}
	}
}

// stretch is how many tokens' cells are in memory at once on the way back: those at
// the beginning of each stretch are kept, the others computed again.
const stretch = 32

// headBackward goes back through a text, and stores or adds the gradients of what a
// head reads.
func (d *deltaRule) headBackward(h, first, n int, dread, dready, dbrate, darate kernels.Matrix) {
	size := d.KeyDim * d.ValueDim
	starts := make([]float32, (n+stretch-1)/stretch*size)
	cells := make([]float32, (stretch+1)*size)
	for t := range n {
		if t%stretch == 0 {
			copy(starts[t/stretch*size:], cells[:size])
		}
		token := d.token(h, first+t)
		token.step(cells[:size], cells[:size])
	}
	dcells := make([]float32, size)
	at := func(i int) []float32 { return cells[i*size : (i+1)*size] }
	q, k, v := d.place(h)
	for from := (n - 1) / stretch * stretch; from >= 0; from -= stretch {
		copy(at(0), starts[from/stretch*size:])
		tokens := make([]deltaToken, min(stretch, n-from))
		for i := range tokens {
			tokens[i] = d.token(h, first+from+i)
			tokens[i].step(at(i+1), at(i))
		}
		for i := len(tokens) - 1; i >= 0; i-- {
			row := first + from + i
			token, to := &tokens[i], dready.Row(row)
			g := deltaGradient{q: to[q:][:d.KeyDim], k: to[k:][:d.KeyDim], v: to[v:][:d.ValueDim]}
			token.back(&g, dcells, dread.Row(row)[h*d.ValueDim:][:d.ValueDim], at(i), at(i+1))
			dbrate.Row(row)[h] = g.rate * token.rate * (1 - token.rate)
			darate.Row(row)[h] = float32(float64(g.decay*token.decay) * -token.fall * float64(rt.Sigmoid(d.arate.Row(row)[h]+d.bias[h])))
		}
	}
}

func (d *deltaRule) backward(ctx context.Context, b *Block, dy, dx kernels.Matrix) error {
	r, n := b.room, dy.Rows
	mark := r.next
	defer func() { r.next = mark }()
	dproduct, dgates, dnormed, dread := r.matrix(n, d.values()), r.matrix(n, d.values()), r.matrix(n, d.values()), r.matrix(n, d.values())
	if err := b.through(ctx, dproduct, back{d.out, dy}); err != nil {
		return err
	}
	dready, dbrate, darate := r.matrix(n, d.channels()), r.matrix(n, d.ValueHeads), r.matrix(n, d.ValueHeads)
	b.each(n, func(i int) {
		rt.ActivateGradient(b.eng, arch.SiLU, 0, dgates.Row(i), dnormed.Row(i), dproduct.Row(i), d.gates.Row(i), d.normed.Row(i))
		d.norm.Gradient(dread.Row(i), dnormed.Row(i), d.read.Row(i))
		clear(dready.Row(i))
	})
	b.eachHead(d.KeyHeads, d.ValueHeads, func(h, first, n int) {
		if ctx.Err() == nil {
			d.headBackward(h, first, n, dread, dready, dbrate, darate)
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	b.each(n, func(i int) { d.prepareBackward(dready.Row(i), d.mixed.Row(i)) })
	dentered := r.matrix(n, d.channels())
	d.conv.backward(b, dentered, dready)
	if !d.Grouped {
		return b.through(ctx, dx, back{d.in, dentered}, back{d.z, dgates}, back{d.b, dbrate}, back{d.a, darate})
	}
	dwide, drates := r.matrix(n, d.wide.Cols), r.matrix(n, d.rates.Cols)
	b.each(n, func(i int) {
		d.sort(dwide.Row(i), drates.Row(i), dentered.Row(i), dgates.Row(i), dbrate.Row(i), darate.Row(i), true)
	})
	return b.through(ctx, dx, back{d.in, dwide}, back{d.b, drates})
}

// prepareBackward turns the gradient of a row that is ready into that of what the
// convolution gave.
func (d *deltaRule) prepareBackward(grad, mixed []float32) {
	x := make([]float32, d.KeyDim)
	for at := 0; at < 2*d.keys(); at += d.KeyDim {
		g, dot, squares := grad[at:at+d.KeyDim], 0.0, 1e-6
		for j, v := range mixed[at : at+d.KeyDim] {
			x[j] = v * rt.Sigmoid(v)
			dot += float64(x[j]) * float64(g[j])
			squares += float64(x[j]) * float64(x[j])
		}
		f := d.unit(x, at)
		for j := range g {
			g[j] = float32(f * (float64(g[j]) - float64(x[j])*dot/squares))
		}
	}
	siluBackward(grad, mixed)
}

// siluBackward multiplies gradients by the slope of v * rt.Sigmoid(v).
func siluBackward(grad, x []float32) {
	for i, v := range x {
		s := rt.Sigmoid(v)
		grad[i] *= s * (1 + v*(1-s))
	}
}
