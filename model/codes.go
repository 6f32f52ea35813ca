package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"nibble/kernels"
)

// codes are how a matrix is stored that is not stored as floats: every layout, of GGUF
// files as of directories, comes down to them.
type codes struct {
	scheme kernels.Scheme                   // of what quant gives
	quant  func() (*kernels.QTensor, error) // nil: no codes of the kernels hold its values
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
