package model

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"nibble/kernels"
)

// codes are how a matrix is stored that is not stored as floats: every layout, of GGUF
// files as of directories, comes down to them.
type codes struct {
	scheme kernels.Scheme                    // of what quant gives
	quant  func() (*kernels.QTensor, error)  // nil: no codes of the kernels hold its values
	floats func(name string) (Tensor, error) // the values then
}

// findCodes finds the matrices of a directory that are stored as codes, and tells of those
// that are used as floats.
func (c *Checkpoint) findCodes() error {
	uses := map[string][]string{}
	for _, m := range c.Config.modules {
		l := c.layoutOf(m)
		if l == nil {
			if err := c.want(weightOf(m.Linear)); err != nil {
				return err
			}
			continue
		}
		c.Quantized = true
		k, why, err := c.codesOf(m, l)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Ref, err)
		}
		c.codes[m.Name] = k
		if why != "" {
			use := "32-bit floats of the same values: " + why
			uses[use] = append(uses[use], l.name)
		}
	}
	c.noteCodes(uses)
	return nil
}

// codesOf says how a matrix in a layout is used, and why if that is as floats. What
// compressed-tensors packs as the kernels have it stays in the mapped file.
func (c *Checkpoint) codesOf(m Module, l *layout) (k codes, why string, err error) {
	if c.stored(m.Name + ".weight_packed") {
		q, err := c.quantWeight(m)
		if err == nil {
			return codes{scheme: q.Scheme, quant: func() (*kernels.QTensor, error) { return c.quantWeight(m) }}, "", nil
		}
		if !errors.Is(err, ErrUnsupported) {
			return k, "", err
		}
	}
	g, err := l.read(c, m)
	if err != nil {
		return k, "", err
	}
	f, why := g.form()
	if why != "" {
		return codes{floats: func(name string) (Tensor, error) {
			g, err := l.read(c, m)
			if err != nil {
				return Tensor{}, err
			}
			return g.floats(name), nil
		}}, why, nil
	}
	return codes{scheme: f.scheme, quant: func() (*kernels.QTensor, error) {
		g, err := l.read(c, m)
		if err != nil {
			return nil, err
		}
		f, _ := g.form()
		return g.tensor(f)
	}}, "", nil
}

// Scheme returns how the matrix of a module is quantized, if it is.
func (c *Checkpoint) Scheme(m Module) (s kernels.Scheme, ok bool) {
	k, ok := c.codes[m.Name]
	return k.scheme, ok && k.quant != nil
}

// Weight returns the matrix of a module such as "model.layers.0.mlp.up_proj".
func (c *Checkpoint) Weight(m Module) (Weight, error) {
	if k, ok := c.codes[m.Name]; ok && k.quant != nil {
		q, err := k.quant()
		return Weight{Q: q}, err
	}
	t, err := c.Tensor(m.Name + ".weight")
	return Weight{Float: &t}, err
}

// decoded returns a matrix that is stored as codes as the floats that they stand for.
func decoded(name string, k codes) (Tensor, error) {
	if k.quant == nil {
		return k.floats(name)
	}
	q, err := k.quant()
	if err != nil {
		return Tensor{}, err
	}
	t := Tensor{Name: name, DType: kernels.F32, Shape: []int{q.Rows, q.Cols}, Data: make([]byte, 4*q.Rows*q.Cols)}
	row := make([]float32, q.Cols)
	for r := range q.Rows {
		q.DequantRow(row, r)
		kernels.EncodeFloats(t.Data[4*r*q.Cols:], row, t.DType)
	}
	return t, nil
}

// noteCodes tells how matrices are used whose codes are not the kernels' own: uses
// holds the types that they are stored as, by how they are used.
func (c *Checkpoint) noteCodes(uses map[string][]string) {
	for _, use := range slices.Sorted(maps.Keys(uses)) {
		types := slices.Compact(slices.Sorted(slices.Values(uses[use])))
		c.Notes = append(c.Notes, fmt.Sprintf("what is stored as %s is used as %s", strings.Join(types, ", "), use))
	}
}
