package graph

import "nibble/kernels"

// memory hands out matrices, and again the same after it is rewound: passes of one
// shape allocate once. What they hold at first is undefined.
type memory struct {
	all  [][]float32
	next int
}

func (m *memory) matrix(rows, cols int) kernels.Matrix {
	if m.next == len(m.all) {
		m.all = append(m.all, nil)
	}
	data := &m.all[m.next]
	m.next++
	return matrixIn(data, rows, cols)
}

// rewind makes the matrices since there are next forgotten ones.
func (m *memory) rewind(next int) { m.next = next }

// matrixIn is a matrix in data, which grows to hold it.
func matrixIn(data *[]float32, rows, cols int) kernels.Matrix {
	if cap(*data) < rows*cols {
		*data = make([]float32, rows*cols)
	}
	return kernels.Matrix{Rows: rows, Cols: cols, Stride: cols, Data: (*data)[:rows*cols]}
}

// room is what a backward pass forgets with its block. Blocks that follow each other
// have two in turn: a gradient is valid until that of the block before the one before is
// computed.
type room struct {
	memory

	weights     kernels.Matrix // of a matrix, transposed
	left, right kernels.Matrix // of a gradient of a matrix
	turnedOf    *float32       // what right is the transpose of
}

// apart returns a matrix in the memory of m, if that suffices, with rows that do not
// all begin in the same place of the caches, as those of a power of two do: for
// transposes, which go down columns.
func apart(m kernels.Matrix, rows, cols int) kernels.Matrix {
	stride := cols + 16
	if cap(m.Data) < rows*stride {
		m.Data = make([]float32, rows*stride)
	}
	return kernels.Matrix{Rows: rows, Cols: cols, Stride: stride, Data: m.Data[:rows*stride]}
}
