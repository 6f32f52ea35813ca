package export

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/arch"
	"nibble/model/gguf"
)

// tensor is one of the file, and what of the checkpoint it is made of.
type tensor struct {
	name   string
	dims   []uint64  // as GGUF has them: the first is the length of a row
	rows   int       // of one expert, or all
	pieces []piece   // in the order of experts and rows
	values []float32 // of a vector, which is made from its pieces at once; nil for others
}

// piece are rows of a tensor of the checkpoint, or columns if it is turned.
type piece struct {
	name    string // of the checkpoint's tensor
	module  *model.Module
	first   int // row of the checkpoint's tensor that the part begins with
	part    arch.Part
	columns []arch.Span
	change  arch.Change
	cols    int
}

// place turns around where a file has the tensors of a checkpoint: for each tensor of
// the file, what it is made of.
func place(ck *model.Checkpoint, sources map[string]arch.Stored) ([]*tensor, error) {
	var all []*tensor
	byName := map[string]*tensor{}
	modules := map[string]*model.Module{}
	for _, m := range ck.Config.Modules() {
		modules[m.Name+".weight"] = &m
	}
	for _, d := range ck.Config.Described() {
		s, ok := sources[d.Name]
		if !ok || len(s.Parts) == 0 {
			return nil, fmt.Errorf("%w: GGUF has no name for tensor %s", gguf.ErrLayout, d.Name)
		}
		cols, first := 1, 0
		for _, n := range d.Shape[1:] {
			cols *= n
		}
		for _, p := range s.Parts {
			t := byName[p.Tensor]
			if t == nil {
				t = &tensor{name: p.Tensor}
				byName[p.Tensor], all = t, append(all, t)
			}
			t.pieces = append(t.pieces, piece{d.Name, modules[d.Name], first, p, s.Columns, s.Change, cols})
			first += p.Rows
		}
	}
	for _, t := range all {
		if err := t.settle(ck); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// settle orders the pieces, works out the dimensions and makes the values of vectors.
func (t *tensor) settle(ck *model.Checkpoint) error {
	slices.SortStableFunc(t.pieces, func(a, b piece) int {
		return cmp.Or(a.part.Expert-b.part.Expert, a.part.First-b.part.First)
	})
	experts, at := t.pieces[len(t.pieces)-1].part.Expert+1, 0
	cols := t.pieces[0].cols
	for i, p := range t.pieces {
		rows, width := p.part.Rows, p.cols
		if p.part.Transposed {
			rows, width = p.cols, p.part.Rows
		}
		if i > 0 && p.part.Expert != t.pieces[i-1].part.Expert {
			at = 0
		}
		if i == 0 {
			cols = width
		}
		if p.part.First != at || width != cols {
			return fmt.Errorf("%w: tensor %s has a hole", gguf.ErrLayout, t.name)
		}
		at += rows
	}
	t.rows = at
	t.dims = []uint64{uint64(cols), uint64(t.rows)}
	switch {
	case t.pieces[0].cols == 1:
		t.dims = t.dims[1:]
		if err := t.fill(ck); err != nil {
			return err
		}
	case t.rows == 1 && t.pieces[0].module == nil: // a matrix of one output
		t.dims = t.dims[:1]
	}
	if experts > 0 {
		t.dims = append(t.dims, uint64(experts))
	}
	return nil
}

// fill makes the values of a vector.
func (t *tensor) fill(ck *model.Checkpoint) error {
	for _, p := range t.pieces {
		x, err := ck.Tensor(p.name)
		if err != nil {
			return err
		}
		values := x.Floats()
		for r := range p.part.Rows {
			v := values[p.first+p.row(r)]
			switch p.change {
			case arch.OneAdded:
				v++
			case arch.MinusExponents:
				v = float32(-math.Exp(float64(v)))
			}
			t.values = append(t.values, v)
		}
	}
	return nil
}

// row returns which of the part's rows lies in row r of it in the file.
func (p piece) row(r int) int {
	if n := p.part.Paired; n > 0 {
		i := r % n
		return r - i + i%2*(n/2) + i/2
	}
	return r
}

// find returns the piece that has a row of the tensor, and which of the checkpoint's
// rows that is, or of its columns if it is turned.
func (t *tensor) find(row int) (p *piece, at int) {
	expert, r := row/t.rows, row%t.rows
	if t.pieces[0].part.Expert < 0 {
		expert = -1
	}
	i, ok := slices.BinarySearchFunc(t.pieces, 0, func(p piece, _ int) int { return cmp.Or(p.part.Expert-expert, p.part.First-r) })
	if !ok {
		i--
	}
	p = &t.pieces[i]
	if r -= p.part.First; p.part.Transposed {
		return p, r
	}
	return p, p.first + p.row(r)
}

// reader gives the rows of a tensor's pieces. It holds one matrix of the checkpoint at
// a time.
type reader struct {
	ck     *model.Checkpoint
	piece  *piece // of what is held; nil: nothing
	weight model.Weight
	turned []float32 // the matrix, where columns of it are rows
	buf    []float32
}

// hold makes a piece's matrix the one that is held.
func (r *reader) hold(p *piece) (err error) {
	if r.piece != nil && r.piece.name == p.name {
		return nil
	}
	r.release()
	if p.module != nil {
		r.weight, err = r.ck.Weight(*p.module)
	} else {
		var x model.Tensor
		x, err = r.ck.Tensor(p.name)
		r.weight = model.Weight{Float: &x}
	}
	if err == nil {
		r.piece = p
	}
	return err
}

// release gives the matrix's memory back.
func (r *reader) release() {
	if r.piece == nil {
		return
	}
	if r.piece.module != nil {
		r.ck.ReleaseWeight(*r.piece.module)
	} else {
		r.ck.Release(r.piece.name)
	}
	r.piece, r.weight, r.turned = nil, model.Weight{}, nil
}

// decode writes a row of the held matrix.
func (r *reader) decode(dst []float32, row int) {
	if q := r.weight.Q; q != nil {
		q.DequantRow(dst, row)
		return
	}
	f := r.weight.Float
	kernels.DecodeFloats(dst, f.Data[row*len(dst)*f.DType.Size():], f.DType)
}

// row writes row i of a tensor as floats, in the file's order.
func (r *reader) row(dst []float32, t *tensor, i int) error {
	if t.values != nil {
		copy(dst, t.values[i*len(dst):])
		return nil
	}
	p, at := t.find(i)
	if err := r.hold(p); err != nil {
		return err
	}
	r.buf = grow(r.buf, p.cols)
	switch {
	case p.part.Transposed:
		if r.turned == nil {
			n := r.rows()
			r.turned = make([]float32, n*p.cols)
			for j := range n {
				r.decode(r.turned[j*p.cols:][:p.cols], j)
			}
		}
		for j := range dst {
			dst[j] = r.turned[(p.first+j)*p.cols+at]
		}
	case p.columns != nil:
		r.decode(r.buf, at)
		from := r.buf
		for _, span := range p.columns {
			copy(dst[span.First:][:span.Count], from)
			from = from[span.Count:]
		}
	default:
		r.decode(dst, at)
	}
	return nil
}

// rows is how many the held matrix has.
func (r *reader) rows() int {
	if q := r.weight.Q; q != nil {
		return q.Rows
	}
	return r.weight.Float.Shape[0]
}

// encode writes row i of a tensor of quantized matrices as blocks.
func (r *reader) encode(dst []byte, t *tensor, i int, typ gguf.Type) (q *kernels.QTensor, row int, err error) {
	p, row := t.find(i)
	if err := r.hold(p); err != nil {
		return nil, 0, err
	}
	q = r.weight.Q
	if p.columns == nil {
		return q, row, gguf.EncodeQuant(dst, q, row, typ)
	}
	from := make([]byte, len(dst))
	err = gguf.EncodeQuant(from, q, row, typ)
	for _, span := range p.columns {
		n := typ.RowBytes(span.Count)
		copy(dst[typ.RowBytes(span.First):][:n], from)
		from = from[n:]
	}
	return q, row, err
}
