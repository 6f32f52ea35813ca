package vector

// transposeGeneric stores dst[c*ldd+r] = src[r*lds+c].
func transposeGeneric(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	const width = 16 // columns of src whose cache lines are read together
	for c := 0; c < cols; c += width {
		for r := range rows {
			for i, v := range src[r*lds+c : r*lds+min(c+width, cols)] {
				dst[(c+i)*ldd+r] = v
			}
		}
	}
}
