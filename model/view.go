package model

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/model/gguf"
)

// describe maps the names of the description to where their tensors are stored,
// for those that are not stored as they are described: slices of stacks,
// interleaved rows, matrices that are stored inputs x outputs.
func (c *Checkpoint) describe() {
	c.described = make(map[string]Described)
	for _, d := range c.Config.Described() {
		if c.sources != nil || d.Name != d.View.Tensor || !whole(d.View) || d.View.Transposed || c.inBlocks(d) {
			c.described[d.Name] = d
		}
	}
}

// prune forgets stored tensors that the description does not mention, such as those
// of a vision tower.
func (c *Checkpoint) prune() {
	used := make(map[string]bool)
	for name := range c.ggufUsed {
		used[name], used[factorOf(name)] = true, true
	}
	for _, d := range c.Config.Described() {
		used[d.View.Tensor] = true
	}
	modules := make(map[string]bool)
	for _, m := range c.Config.Modules() {
		modules[m.Name] = true
	}
	// A tensor may be there in parts, which have its name or its module's and more.
	partOf := func(name string, whole map[string]bool, suffixes ...string) bool {
		return slices.ContainsFunc(suffixes, func(suffix string) bool {
			rest, ok := strings.CutSuffix(name, suffix)
			return ok && whole[rest]
		})
	}
	maps.DeleteFunc(c.tensors, func(name string, _ stored) bool {
		return !used[name] && !partOf(name, used, mxfp4Blocks, mxfp4Scales) && !partOf(name, modules, layoutSuffixes...)
	})
}

// stored reports whether the files hold a tensor.
func (c *Checkpoint) stored(name string) bool { _, ok := c.tensors[name]; return ok }

// storedByName is stored for families, which know the names of Hugging Face's files:
// what a GGUF file holds has others.
func (c *Checkpoint) storedByName(name string) bool { return c.gguf == nil && c.stored(name) }

// part finds a described tensor: the bytes of the stored one or of its slice, the
// rows that these are, and their type. It checks shapes and copies nothing.
func (c *Checkpoint) part(d Described) (data []byte, rows int, dt kernels.DType, err error) {
	t, ok := c.tensors[d.View.Tensor]
	if !ok {
		return nil, 0, 0, fmt.Errorf("%s: tensor %s: %w", c.Ref, d.View.Tensor, ErrNotFound)
	}
	if dt, ok = floatDType(t.dtype); !ok {
		return nil, 0, 0, fmt.Errorf("%s: tensor %s: %w: dtype %s (F32, F16 and BF16 are)", c.Ref, d.View.Tensor, ErrUnsupported, t.dtype)
	}
	if whole(d.View) && !d.View.Transposed {
		data, rows, ok = t.data, d.Shape[0], slices.Equal(t.shape, d.Shape)
	} else {
		data, rows, ok = slice(t, d.View, d.cols())
	}
	last := d.View.First + (d.Shape[0]-1)*d.step()
	if !ok || last >= rows || whole(d.View) && rows != d.Shape[0] {
		return nil, 0, 0, fmt.Errorf("%s: %w: tensor %s is %v, config.json asks for %v", c.Ref, ErrCorrupt, d.View.Tensor, t.shape, d.Shape)
	}
	return data, rows, dt, nil
}

// cols is the width of a row, 1 for vectors.
func (d Described) cols() int {
	if len(d.Shape) == 2 {
		return d.Shape[1]
	}
	return 1
}

// step is the distance of rows in the stored tensor.
func (d Described) step() int { return max(d.View.Step, 1) }

// viewed returns a described tensor. Rows that follow each other in the file stay
// mapped; others are gathered.
func (c *Checkpoint) viewed(d Described) (Tensor, error) {
	if c.sources != nil {
		return c.viewedGGUF(d)
	}
	if c.inBlocks(d) {
		return c.viewedMXFP4(d)
	}
	part, have, dt, err := c.part(d)
	if err != nil {
		return Tensor{}, err
	}
	rows, row, size := d.Shape[0], d.cols()*dt.Size(), dt.Size()
	out := Tensor{Name: d.Name, DType: dt, Shape: d.Shape}
	switch {
	case d.View.Transposed:
		out.Data = make([]byte, 0, rows*row)
		for r := range rows {
			for j := range d.cols() {
				out.Data = append(out.Data, part[(j*have+d.View.First+r*d.step())*size:][:size]...)
			}
		}
	case d.step() == 1:
		out.Data = part[d.View.First*row:][:rows*row]
	default:
		out.Data = make([]byte, 0, rows*row)
		for r := range rows {
			out.Data = append(out.Data, part[(d.View.First+r*d.step())*row:][:row]...)
		}
	}
	return out, nil
}

// whole reports whether a view is all of a tensor.
func whole(v arch.View) bool { return v.Expert < 0 && v.First == 0 && v.Step <= 1 }

// slice returns what of a tensor a view is of, the expert's part of a stack or all,
// and how many rows of cols elements that has. A tensor of any shape is a vector.
func slice(t stored, v arch.View, cols int) (data []byte, rows int, ok bool) {
	data, shape := t.data, t.shape
	if v.Expert >= 0 {
		if len(shape) < 2 || v.Expert >= shape[0] {
			return nil, 0, false
		}
		size := len(data) / shape[0]
		data, shape = data[v.Expert*size:][:size], shape[1:]
	}
	if cols == 1 {
		rows = 1
		for _, n := range shape {
			rows *= n
		}
		return data, rows, true
	}
	if len(shape) != 2 {
		return nil, 0, false
	}
	rows, across := shape[0], shape[1]
	if v.Transposed {
		rows, across = across, rows
	}
	return data, rows, across == cols
}

// MXFP4 is how gpt-oss stores its experts: blocks of 32 values of 4 bits, two in
// a byte and the first in its low half, each block with an exponent of its own
// (OCP Microscaling Formats, 2023).
const (
	mxfp4Blocks = "_blocks" // U8 [experts, rows, columns/32, 16]
	mxfp4Scales = "_scales" // U8 [experts, rows, columns/32]
)

// inBlocks reports whether a described matrix is stored so.
func (c *Checkpoint) inBlocks(d Described) bool {
	return !c.stored(d.View.Tensor) && c.stored(d.View.Tensor+mxfp4Blocks) && c.stored(d.View.Tensor+mxfp4Scales)
}

// checkMXFP4 checks the shapes of blocks and scales.
func (c *Checkpoint) checkMXFP4(d Described) error {
	blocks, scales := c.tensors[d.View.Tensor+mxfp4Blocks], c.tensors[d.View.Tensor+mxfp4Scales]
	if len(d.Shape) != 2 || d.View.Expert < 0 || d.View.Transposed || blocks.dtype != "U8" || scales.dtype != "U8" ||
		len(scales.shape) != 3 || !slices.Equal(blocks.shape, append(slices.Clone(scales.shape), 16)) ||
		d.View.Expert >= scales.shape[0] || d.View.First+(d.Shape[0]-1)*d.step() >= scales.shape[1] || scales.shape[2]*32 != d.Shape[1] {
		return fmt.Errorf("%s: %w: tensor %s is %v, config.json asks for %v", c.Ref, ErrCorrupt, d.View.Tensor+mxfp4Blocks, blocks.shape, d.Shape)
	}
	return nil
}

// viewedMXFP4 decodes a described matrix that is stored in blocks; BF16 holds its
// values.
func (c *Checkpoint) viewedMXFP4(d Described) (Tensor, error) {
	if err := c.checkMXFP4(d); err != nil {
		return Tensor{}, err
	}
	blocks, scales := c.tensors[d.View.Tensor+mxfp4Blocks], c.tensors[d.View.Tensor+mxfp4Scales]
	rows, groups := d.Shape[0], scales.shape[2]
	values := make([]float32, rows*d.Shape[1])
	for r := range rows {
		row := d.View.Expert*scales.shape[1] + d.View.First + r*d.step()
		for g := range groups {
			exponent := int(scales.data[row*groups+g]) - 127
			out := values[r*d.Shape[1]+g*32:]
			for j, b := range blocks.data[(row*groups+g)*16:][:16] {
				out[2*j] = float32(math.Ldexp(gguf.FP4Values[b&15], exponent))
				out[2*j+1] = float32(math.Ldexp(gguf.FP4Values[b>>4], exponent))
			}
		}
	}
	data := make([]byte, len(values)*kernels.BF16.Size())
	kernels.EncodeFloats(data, values, kernels.BF16)
	return Tensor{Name: d.Name, DType: kernels.BF16, Shape: d.Shape, Data: data}, nil
}
