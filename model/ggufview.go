package model

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/model/gguf"
	"nibble/model/source"
)

// ggufDType is the type in which the values of a GGUF tensor are used.
func ggufDType(t gguf.Type) kernels.DType {
	switch t {
	case gguf.F16:
		return kernels.F16
	case gguf.BF16:
		return kernels.BF16
	}
	return kernels.F32
}

// storedAs is what a described tensor is in a GGUF file, once that is checked.
type storedAs struct {
	arch.Stored
	parts []ggufPart
	dtype kernels.DType
	rows  int
	cols  int
}

// ggufPart is the stored matrix, or the expert's slice of a stack, that rows are
// taken from.
type ggufPart struct {
	arch.Part
	tensor stored
	data   []byte
	cols   int     // of the stored matrix
	factor float32 // of all its values
}

// ggufForm finds a described tensor in a GGUF file and checks shapes and types; it
// reads nothing.
func (c *Checkpoint) ggufForm(d Described) (s storedAs, err error) {
	s.Stored, s.rows, s.cols = c.sources[d.Name], d.Shape[0], 1
	for _, n := range d.Shape[1:] {
		s.cols *= n
	}
	total := 0
	for i, p := range s.Parts {
		part, err := c.ggufPart(p, s.cols)
		if err != nil {
			return s, err
		}
		if t := part.dtype(); i == 0 {
			s.dtype = t
		} else if t != s.dtype {
			s.dtype = kernels.F32
		}
		s.parts = append(s.parts, part)
		total += p.Rows
	}
	if s.Change != arch.Unchanged {
		s.dtype = kernels.F32
	}
	if total != s.rows {
		return s, fmt.Errorf("%s: %w: tensor %s is not in the file as the model's keys ask for", c.Ref, ErrCorrupt, d.Name)
	}
	return s, nil
}

// ggufPart finds a part whose rows have some columns.
func (c *Checkpoint) ggufPart(p arch.Part, cols int) (ggufPart, error) {
	t, ok := c.tensors[p.Tensor]
	if !ok {
		return ggufPart{}, fmt.Errorf("%s: tensor %s: %w", c.Ref, p.Tensor, ErrNotFound)
	}
	if !t.ggml.Decodable() {
		return ggufPart{}, fmt.Errorf("%s: tensor %s: GGUF type %s is %w yet", c.Ref, source.Quote(p.Tensor), t.ggml, ErrUnsupported)
	}
	part := ggufPart{Part: p, tensor: t, data: t.data, cols: cols, factor: 1}
	var err error
	if part.factor, err = c.ggufFactor(p); err != nil {
		return part, err
	}
	wrong := func() (ggufPart, error) {
		return part, fmt.Errorf("%s: %w: tensor %s is %v, the model's keys ask for %d rows of %d", c.Ref, ErrCorrupt, source.Quote(p.Tensor), t.shape, p.Rows, cols)
	}
	shape := t.shape
	if p.Expert >= 0 {
		if len(shape) < 2 || p.Expert >= shape[0] {
			return wrong()
		}
		size := len(part.data) / shape[0]
		part.data, shape = part.data[p.Expert*size:][:size], shape[1:]
	}
	rows, last := 1, shape[len(shape)-1]
	for _, n := range shape[:len(shape)-1] {
		rows *= n
	}
	switch {
	case p.Transposed:
		part.cols, rows = last, last
		if len(shape) != 2 || shape[0] != cols {
			return wrong()
		}
	case cols == 1 && t.ggml.Block() == 1: // a vector, however its elements are arranged
		rows *= last
	case last != cols:
		return wrong()
	}
	if p.First+p.Rows > rows {
		return wrong()
	}
	return part, nil
}

// ggufFactor is what all values of a part are multiplied by: a matrix NAME.weight may
// have a tensor NAME.scale of one element, or of one for each expert, as NVFP4 has.
// Where the description has a use of its own for that tensor, it is none.
func (c *Checkpoint) ggufFactor(p arch.Part) (float32, error) {
	name := factorOf(p.Tensor)
	t, there := c.tensors[name]
	if !there || c.ggufUsed[name] {
		return 1, nil
	}
	at := max(p.Expert, 0)
	if n := len(t.data) / 4; t.ggml != gguf.F32 || n != 1 && p.Expert < 0 || at >= n {
		return 0, fmt.Errorf("%s: %w: tensor %s is %s of %v, where a factor of 32 bits belongs for each matrix of %s",
			c.Ref, ErrCorrupt, source.Quote(name), t.ggml, t.shape, source.Quote(p.Tensor))
	}
	f := math.Float32frombits(binary.LittleEndian.Uint32(t.data[4*at:]))
	if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
		return 0, fmt.Errorf("%s: %w: tensor %s holds %v", c.Ref, ErrCorrupt, source.Quote(name), f)
	}
	return f, nil
}

// factorOf is the tensor that may hold the factors of a stored matrix.
func factorOf(tensor string) string { return strings.TrimSuffix(tensor, ".weight") + ".scale" }

// dtype is the type in which the values of a part are used.
func (p ggufPart) dtype() kernels.DType {
	if p.factor != 1 {
		return kernels.F32
	}
	return ggufDType(p.tensor.ggml)
}

// checkUse makes sure that of the tensors that are used all elements are: more of
// them are not what the keys say.
func (c *Checkpoint) checkUse() error {
	used := map[string]int{}
	for _, d := range c.Config.Described() {
		s, err := c.ggufForm(d)
		if err != nil {
			return err
		}
		for _, p := range s.parts {
			used[p.Tensor] += p.Rows * s.cols
		}
	}
	for name, n := range used {
		shape := c.tensors[name].shape
		have := 1
		for _, d := range shape {
			have *= d
		}
		if n != have {
			return fmt.Errorf("%s: %w: tensor %s is %v, of which the model's keys ask for %d elements", c.Ref, ErrCorrupt, source.Quote(name), shape, n)
		}
	}
	return c.findBlocks()
}

// findBlocks finds the matrices whose blocks are codes of the kernels, and tells of
// the others and of those that take more bits than they do in the file.
func (c *Checkpoint) findBlocks() error {
	uses := map[string][]string{}
	for _, m := range c.Config.modules {
		form, err := c.ggufForm(weightOf(m.Linear))
		if err != nil {
			return err
		}
		t := form.parts[0].tensor.ggml
		c.Quantized = c.Quantized || t.Block() > 1
		if scheme, ok := form.scheme(); ok {
			c.codes[m.Name] = codes{scheme: scheme, quant: func() (*kernels.QTensor, error) { return c.blocks(m, scheme) }}
			if bits := 8 * t.RowBytes(t.Block()) / t.Block(); bits < scheme.Bits {
				use := fmt.Sprintf("%s, which holds its values exactly", scheme)
				uses[use] = append(uses[use], t.String())
			}
		} else if t.Block() > 1 {
			uses["32-bit floats of the same values"] = append(uses["32-bit floats of the same values"], t.String())
		}
	}
	c.noteCodes(uses)
	return nil
}

// scheme returns that of a quantized matrix that holds what is stored: its rows are
// of one type, and its columns in the order of whole blocks.
func (s storedAs) scheme() (scheme kernels.Scheme, ok bool) {
	t := s.parts[0].tensor.ggml
	for _, p := range s.parts {
		if p.tensor.ggml != t || p.Transposed || p.factor != 1 {
			return scheme, false
		}
	}
	for _, span := range s.Columns {
		if span.First%t.Block() != 0 || span.Count%t.Block() != 0 {
			return scheme, false
		}
	}
	scheme, ok = t.Scheme()
	return scheme, ok && s.Change == arch.Unchanged
}

// blocks reads the matrix of a module as codes.
func (c *Checkpoint) blocks(m Module, scheme kernels.Scheme) (*kernels.QTensor, error) {
	s, err := c.ggufForm(weightOf(m.Linear))
	if err != nil {
		return nil, err
	}
	q, err := kernels.NewQTensor(m.Rows, m.Cols, scheme)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Ref, err)
	}
	t := s.parts[0].tensor.ggml
	size, row, ordered := t.RowBytes(s.cols), 0, make([]byte, 0, t.RowBytes(s.cols))
	for _, p := range s.parts {
		for r := range p.Rows {
			src := p.data[p.Row(r)*size:][:size]
			if s.Columns != nil {
				ordered = ordered[:0]
				for _, span := range s.Columns {
					ordered = append(ordered, src[t.RowBytes(span.First):][:t.RowBytes(span.Count)]...)
				}
				src = ordered
			}
			if err := gguf.PackRow(q, row, src, t); err != nil {
				return nil, fmt.Errorf("%s: tensor %s: %w", c.Ref, source.Quote(p.Tensor), ggufError(err))
			}
			row++
		}
	}
	if err := q.Validate(); err != nil {
		return nil, fmt.Errorf("%s: tensor %s: %w: %v", c.Ref, source.Quote(s.parts[0].Tensor), ErrCorrupt, err)
	}
	return q, nil
}

// viewedGGUF returns a described tensor. What follows each other in the file and is
// stored as floats stays mapped.
func (c *Checkpoint) viewedGGUF(d Described) (Tensor, error) {
	s, err := c.ggufForm(d)
	if err != nil {
		return Tensor{}, err
	}
	out := Tensor{Name: d.Name, DType: s.dtype, Shape: d.Shape}
	row := s.cols * s.dtype.Size()
	if p := s.parts[0]; len(s.parts) == 1 && !p.Transposed && p.Paired == 0 && s.Columns == nil && s.Change == arch.Unchanged && p.factor == 1 && p.tensor.ggml.Block() == 1 {
		out.Data = p.data[p.First*row:][:s.rows*row]
		return out, nil
	}
	out.Data = make([]byte, 0, s.rows*row)
	for _, p := range s.parts {
		out.Data = p.append(out.Data, s)
	}
	if s.Change != arch.Unchanged {
		values := out.Floats()
		for i, v := range values {
			if s.Change == arch.OneAdded {
				values[i] = v - 1
			} else {
				values[i] = float32(math.Log(float64(-v)))
			}
		}
		kernels.EncodeFloats(out.Data, values, s.dtype)
	}
	return out, nil
}

// append adds the rows of a part, in the type of the whole.
func (p ggufPart) append(out []byte, s storedAs) []byte {
	size := s.dtype.Size()
	first, n := p.First, p.Rows // of the stored rows that hold them
	if p.Transposed {
		first, n = 0, s.cols
	}
	data := p.plain(first, n, s.dtype)
	for r := range p.Rows {
		at := p.Row(r)
		switch {
		case p.Transposed:
			for j := range s.cols {
				out = append(out, data[(j*p.cols+at)*size:][:size]...)
			}
		case s.Columns != nil:
			row := data[(at-first)*p.cols*size:][:p.cols*size]
			for _, span := range s.Columns {
				out = append(out, row[span.First*size:][:span.Count*size]...)
			}
		default:
			out = append(out, data[(at-first)*p.cols*size:][:p.cols*size]...)
		}
	}
	return out
}

// plain returns n stored rows as floats of a type.
func (p ggufPart) plain(first, n int, dtype kernels.DType) []byte {
	row := p.tensor.ggml.RowBytes(p.cols)
	data := p.data[first*row:][:n*row]
	if p.tensor.ggml.Block() == 1 && p.factor == 1 && ggufDType(p.tensor.ggml) == dtype {
		return data
	}
	values := make([]float32, n*p.cols)
	for r := range n {
		if err := gguf.DecodeRow(values[r*p.cols:][:p.cols], data[r*row:][:row], p.tensor.ggml); err != nil {
			panic(err) // ggufPart has seen that it can be decoded
		}
	}
	if p.factor != 1 {
		for i := range values {
			values[i] *= p.factor
		}
	}
	out := make([]byte, len(values)*dtype.Size())
	kernels.EncodeFloats(out, values, dtype)
	return out
}

// releaseGGUF gives back the pages that a described tensor is stored in.
func (c *Checkpoint) releaseGGUF(d Described) {
	if s, err := c.ggufForm(d); err == nil {
		for _, p := range s.parts {
			c.release(p.data)
		}
	}
}

// storedGGUF is the type in which most of a described tensor is stored, and how many
// bytes that takes.
func (c *Checkpoint) storedGGUF(d Described) (dtype string, bytes int64) {
	s, err := c.ggufForm(d)
	if err != nil || len(s.parts) == 0 {
		return "", 0
	}
	for _, p := range s.parts {
		bytes += int64(p.tensor.ggml.RowBytes(p.Rows * s.cols))
	}
	return s.parts[0].tensor.dtype, bytes
}
