package model

import (
	"fmt"
	"math"

	"nibble/kernels"
)

const (
	// sampledRows is how many rows of a matrix Magnitudes looks at, expertRows how many
	// of an expert's, of which there can be thousands, and glance how much of a row: it
	// reads on only where all of that is small.
	sampledRows = 128
	expertRows  = 8
	glance      = 64
	usualLeast  = 1.0 / 64
)

// Magnitudes returns the largest magnitudes of some rows of a float matrix, evenly
// spread over it, at least as far as they matter to whether another type holds
// them: of rows that begin with weights of the usual size not all is read. The
// result is kept.
func (c *Checkpoint) Magnitudes(m Module) ([]float32, error) {
	if v, ok := c.magnitudes.Load(m.Name); ok {
		return v.([]float32), nil
	}
	t, err := c.Tensor(m.Name + ".weight")
	if err != nil {
		return nil, err
	}
	if len(t.Data) != m.Rows*m.Cols*t.DType.Size() {
		return nil, fmt.Errorf("%s: tensor %s: %w: it is no matrix of %d x %d", c.Ref, t.Name, ErrCorrupt, m.Rows, m.Cols)
	}
	n := min(m.Rows, sampledRows)
	if m.Linear != nil && m.Linear.Expert >= 0 {
		n = min(n, expertRows)
	}
	out, row := make([]float32, n), make([]float32, m.Cols)
	for i := range out {
		data := t.Data[i*m.Rows/n*m.Cols*t.DType.Size():]
		begin := row[:min(glance, m.Cols)]
		kernels.DecodeFloats(begin, data, t.DType)
		if out[i] = largest(begin); out[i] < usualLeast {
			kernels.DecodeFloats(row, data, t.DType)
			out[i] = largest(row)
		}
	}
	c.magnitudes.Store(m.Name, out)
	return out, nil
}

// largest is the largest magnitude; NaN is none.
func largest(x []float32) float32 {
	most := float32(0)
	for _, v := range x {
		if v = float32(math.Abs(float64(v))); v > most {
			most = v
		}
	}
	return most
}
