package graph

import (
	"context"
	"math"

	"nibble/kernels"
	"nibble/model/arch"
)

// deltaRule is linear attention by the gated delta rule.
type deltaRule struct {
	*arch.DeltaRule
	in, z, a, b, out *Linear
	conv             convolution
	aLog, bias       []float32
	norm             *Norm
	state            int
	number           int
}

// deltaRecord is what a delta rule keeps of a pass.
type deltaRecord struct {
	wide, rates           kernels.Matrix // what in and b gave, where they are grouped
	entered, mixed        kernels.Matrix // queries, keys and values before and after the convolution
	ready                 kernels.Matrix // after the activation, queries and keys brought to their length
	gates, brate, arate   kernels.Matrix // gates of values; of each head its rate and decay
	read, normed, product kernels.Matrix // what queries find, and on its way out
}

func (c *compiler) deltaRule(d *arch.DeltaRule) operation {
	out := &deltaRule{DeltaRule: d, in: c.linear(d.In), z: c.linear(d.Z), a: c.linear(d.A), b: c.linear(d.B), out: c.linear(d.Out),
		conv: c.convolution(d.Conv, nil, d.Kernel), aLog: c.vector(d.ALog), bias: c.vector(d.DtBias), norm: c.norm(d.Norm), number: c.number()}
	out.state = c.state(recurrence{out.channels(), d.Kernel, d.ValueHeads * d.KeyDim * d.ValueDim})
	return out
}

// keys and values are elements of a token, channels those of queries, keys and
// values.
func (d *deltaRule) keys() int     { return d.KeyHeads * d.KeyDim }
func (d *deltaRule) values() int   { return d.ValueHeads * d.ValueDim }
func (d *deltaRule) channels() int { return 2*d.keys() + d.values() }

func (d *deltaRule) forward(ctx context.Context, p *Pass, x, dst kernels.Matrix) error {
	r, n := record[deltaRecord](p, d.number), x.Rows
	if err := d.inputs(ctx, p, r, x); err != nil {
		return err
	}
	r.mixed = p.matrix(n, d.channels())
	r.ready = p.another(r.mixed)
	r.read = p.matrix(n, d.values())
	for _, t := range p.texts {
		kept := p.state(d.state)
		d.conv.forward(p, t, kept, r.mixed, r.entered)
		p.eachPlace(t, func(i, _ int) { d.prepare(p.eng, r.ready.Row(i), r.mixed.Row(i)) })
		p.each(d.ValueHeads, func(h int) {
			size := d.KeyDim * d.ValueDim
			cells := kept.cells[h*size:][:size]
			token := d.head(h)
			for i := t.first; i < t.first+t.n; i++ {
				d.token(&token, r, h, i)
				token.step(cells, cells)
				token.find(cells, r.read.Row(i)[h*d.ValueDim:][:d.ValueDim])
			}
		})
	}
	r.normed = p.normalize(d.norm, r.read)
	r.product = p.another(r.normed)
	p.each(n, func(i int) { activate(p.eng, arch.SiLU, 0, r.product.Row(i), r.gates.Row(i), r.normed.Row(i)) })
	return p.multiply(ctx, r.product, product{d.out, dst})
}

// prepare applies the activation to a row after its convolution, and brings queries and
// keys to their lengths.
func (d *deltaRule) prepare(e *kernels.Engine, ready, mixed []float32) {
	activate(e, arch.SiLU, 0, ready, mixed, nil)
	for at := 0; at < 2*d.keys(); at += d.KeyDim {
		x := ready[at : at+d.KeyDim]
		scaleRow(x, float32(d.unit(x, at)))
	}
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
func (d *deltaRule) inputs(ctx context.Context, p *Pass, r *deltaRecord, x kernels.Matrix) error {
	n := x.Rows
	all := []product{p.output(d.in, n), p.output(d.b, n)}
	if !d.Grouped {
		all = append(all, p.output(d.z, n), p.output(d.a, n))
	}
	if err := p.multiply(ctx, x, all...); err != nil {
		return err
	}
	r.wide, r.rates = all[0].dst, all[1].dst
	if !d.Grouped {
		r.entered, r.brate, r.gates, r.arate = r.wide, r.rates, all[2].dst, all[3].dst
		return nil
	}
	r.entered, r.gates = p.matrix(n, d.channels()), p.matrix(n, d.values())
	r.brate, r.arate = p.matrix(n, d.ValueHeads), p.matrix(n, d.ValueHeads)
	p.each(n, func(i int) {
		d.sort(r.wide.Row(i), r.rates.Row(i), r.entered.Row(i), r.gates.Row(i), r.brate.Row(i), r.arate.Row(i), false)
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
	fall        float64 // the decay is exp(-fall * softplus(its input))
	change      []float32
}

// place returns the columns of a value head's query, key and value.
func (d *deltaRule) place(h int) (q, k, v int) {
	key := h / (d.ValueHeads / d.KeyHeads) * d.KeyDim
	return key, d.keys() + key, 2*d.keys() + h*d.ValueDim
}

// head is a token of a head before it is known which.
func (d *deltaRule) head(h int) deltaToken {
	return deltaToken{fall: math.Exp(float64(d.aLog[h])), change: make([]float32, d.ValueDim)}
}

// token makes t that in a row.
func (d *deltaRule) token(t *deltaToken, r *deltaRecord, h, row int) {
	q, k, v := d.place(h)
	ready := r.ready.Row(row)
	t.q, t.k, t.v = ready[q:][:d.KeyDim], ready[k:][:d.KeyDim], ready[v:][:d.ValueDim]
	t.decay = float32(math.Exp(-t.fall * softplus(float64(r.arate.Row(row)[h]+d.bias[h]))))
	t.rate = sigmoid(r.brate.Row(row)[h])
}

// step stores in next the cells after the token; next may be cells. What the key
// learns is left in change: rate * (v - what the key finds in the decayed cells).
func (t *deltaToken) step(next, cells []float32) {
	change, decay := t.change, t.decay
	width := len(change)
	clear(change)
	for i, key := range t.k {
		row := cells[i*width:][:len(change)]
		for j, c := range row {
			change[j] += c * decay * key
		}
	}
	for j, known := range change {
		change[j] = t.rate * (t.v[j] - known)
	}
	for i, key := range t.k {
		row, to := cells[i*width:][:len(change)], next[i*width:][:len(change)]
		for j, learned := range change {
			to[j] = row[j]*decay + key*learned
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
func (d *deltaRule) headBackward(r *deltaRecord, h int, t text, dread, dready, dbrate, darate kernels.Matrix) {
	size := d.KeyDim * d.ValueDim
	starts := make([]float32, (t.n+stretch-1)/stretch*size)
	cells := make([]float32, (stretch+1)*size)
	at := func(i int) []float32 { return cells[i*size : (i+1)*size] }
	token := d.head(h)
	for i := range t.n {
		if i%stretch == 0 {
			copy(starts[i/stretch*size:], at(0))
		}
		d.token(&token, r, h, t.first+i)
		token.step(at(0), at(0))
	}
	dcells := make([]float32, size)
	q, k, v := d.place(h)
	for from := (t.n - 1) / stretch * stretch; from >= 0; from -= stretch {
		copy(at(0), starts[from/stretch*size:])
		tokens := make([]deltaToken, min(stretch, t.n-from))
		for i := range tokens {
			tokens[i] = d.head(h)
			d.token(&tokens[i], r, h, t.first+from+i)
			tokens[i].step(at(i+1), at(i))
		}
		for i := len(tokens) - 1; i >= 0; i-- {
			row := t.first + from + i
			token, to := &tokens[i], dready.Row(row)
			g := deltaGradient{q: to[q:][:d.KeyDim], k: to[k:][:d.KeyDim], v: to[v:][:d.ValueDim]}
			token.back(&g, dcells, dread.Row(row)[h*d.ValueDim:][:d.ValueDim], at(i), at(i+1))
			dbrate.Row(row)[h] = g.rate * token.rate * (1 - token.rate)
			darate.Row(row)[h] = float32(float64(g.decay*token.decay) * -token.fall * float64(sigmoid(r.arate.Row(row)[h]+d.bias[h])))
		}
	}
}

func (d *deltaRule) backward(ctx context.Context, p *Pass, dy, dx kernels.Matrix) error {
	rec, r, n := record[deltaRecord](p, d.number), p.room, dy.Rows
	defer r.rewind(r.next)
	dproduct, dgates, dnormed, dread := r.matrix(n, d.values()), r.matrix(n, d.values()), r.matrix(n, d.values()), r.matrix(n, d.values())
	if err := p.through(ctx, dproduct, back{d.out, dy}); err != nil {
		return err
	}
	dready, dbrate, darate := r.matrix(n, d.channels()), r.matrix(n, d.ValueHeads), r.matrix(n, d.ValueHeads)
	p.each(n, func(i int) {
		activateGradient(p.eng, arch.SiLU, 0, dgates.Row(i), dnormed.Row(i), dproduct.Row(i), rec.gates.Row(i), rec.normed.Row(i))
		d.norm.Gradient(dread.Row(i), dnormed.Row(i), rec.read.Row(i))
		clear(dready.Row(i))
	})
	p.eachGroup(d.KeyHeads, d.ValueHeads, func(h int, t text) {
		if ctx.Err() == nil {
			d.headBackward(rec, h, t, dread, dready, dbrate, darate)
		}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	p.each(n, func(i int) { d.prepareBackward(p.eng, dready.Row(i), rec.mixed.Row(i)) })
	dentered := r.matrix(n, d.channels())
	d.conv.backward(p, dentered, dready)
	if !d.Grouped {
		return p.through(ctx, dx, back{d.in, dentered}, back{d.z, dgates}, back{d.b, dbrate}, back{d.a, darate})
	}
	dwide, drates := r.matrix(n, rec.wide.Cols), r.matrix(n, rec.rates.Cols)
	p.each(n, func(i int) {
		d.sort(dwide.Row(i), drates.Row(i), dentered.Row(i), dgates.Row(i), dbrate.Row(i), darate.Row(i), true)
	})
	return p.through(ctx, dx, back{d.in, dwide}, back{d.b, drates})
}

// prepareBackward turns the gradient of a row that is ready into that of what the
// convolution gave.
func (d *deltaRule) prepareBackward(e *kernels.Engine, grad, mixed []float32) {
	x := make([]float32, d.KeyDim)
	for at := 0; at < 2*d.keys(); at += d.KeyDim {
		g, dot, squares := grad[at:at+d.KeyDim], 0.0, 1e-6
		activate(e, arch.SiLU, 0, x, mixed[at:at+d.KeyDim], nil)
		for j, v := range x {
			dot += float64(v) * float64(g[j])
			squares += float64(v) * float64(v)
		}
		f := d.unit(x, at)
		for j := range g {
			g[j] = float32(f * (float64(g[j]) - float64(x[j])*dot/squares))
		}
	}
	siluGradient(grad, mixed)
}
