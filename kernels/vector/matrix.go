package vector

// Matrix is a float32 matrix in row-major order, Stride elements between rows.
type Matrix struct {
	Rows, Cols, Stride int
	Data               []float32
}

// NewMatrix returns a matrix of zeros without gaps.
func NewMatrix(rows, cols int) Matrix {
	return Matrix{rows, cols, cols, make([]float32, rows*cols)}
}

// Row returns row i.
func (m Matrix) Row(i int) []float32 { return m.Data[i*m.Stride:][:m.Cols] }

// Sub returns the part of rows r0 to r1 and columns c0 to c1; it shares the data.
func (m Matrix) Sub(r0, r1, c0, c1 int) Matrix {
	return Matrix{r1 - r0, c1 - c0, m.Stride, m.Data[r0*m.Stride+c0:]}
}
