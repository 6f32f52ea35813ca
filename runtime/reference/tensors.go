package reference

import (
	"math"

	"nibble/model/arch"
)

// view returns the rows of a view, of cols elements each.
func (r *run) view(v arch.View, count, cols int) rows {
	shape, all, err := r.tensors(v.Tensor)
	if err != nil {
		failf("%w", err)
	}
	if v.Expert >= 0 {
		size := len(all) / shape[0]
		all = all[v.Expert*size : (v.Expert+1)*size]
	}
	total := len(all) / cols // rows of the tensor
	step := max(v.Step, 1)
	if last := v.First + (count-1)*step; last >= total {
		failf("%s has %d rows of %d, its view needs row %d", v.Tensor, total, cols, last)
	}
	out := make(rows, count)
	for i := range out {
		out[i] = make([]float64, cols)
		row := v.First + i*step
		for j := range cols {
			if v.Transposed {
				out[i][j] = all[j*total+row]
			} else {
				out[i][j] = all[row*cols+j]
			}
		}
	}
	return out
}

func (r *run) weight(l *arch.Linear) rows { return r.view(l.View, l.Rows, l.Cols) }

func (r *run) vector(v *arch.Vector) []float64 {
	out := make([]float64, 0, v.Len)
	for _, p := range v.Parts {
		for _, row := range r.view(arch.View{Tensor: p, Expert: -1}, v.Len/len(v.Parts), 1) {
			out = append(out, row...)
		}
	}
	if v.Parts != nil {
		return out
	}
	for _, row := range r.view(v.View, v.Len, 1) {
		out = append(out, row...)
	}
	return out
}

func (r *run) linear(l *arch.Linear, x rows) rows { return r.multiply(r.weight(l), l.Bias, x) }

func (r *run) multiply(w rows, bias *arch.Vector, x rows) rows {
	out := make(rows, len(x))
	for t, row := range x {
		out[t] = make([]float64, len(w))
		for i := range w {
			out[t][i] = dot(w[i], row)
		}
		if bias != nil {
			out[t] = sum(out[t], r.vector(bias))
		}
	}
	return out
}

// norm normalizes every group of the norm's width; nil leaves x as it is.
func (r *run) norm(n *arch.Norm, x rows) rows {
	if n == nil {
		return x
	}
	var weight, bias []float64
	if n.Weight != nil {
		weight = r.vector(n.Weight)
	}
	if n.Bias != nil {
		bias = r.vector(n.Bias)
	}
	out := make(rows, len(x))
	for t, row := range x {
		out[t] = make([]float64, len(row))
		for at := 0; at < len(row); at += n.Width {
			group := row[at : at+n.Width]
			mean := 0.0
			if n.Kind == arch.LayerNorm {
				for _, v := range group {
					mean += v / float64(n.Width)
				}
			}
			squares := 0.0
			for _, v := range group {
				squares += (v - mean) * (v - mean)
			}
			by := math.Sqrt(squares/float64(n.Width) + float64(n.Eps))
			for i, v := range group {
				y := (v - mean) / by
				if weight != nil {
					y *= weight[(at+i)%len(weight)] + float64(n.Offset)
				}
				if bias != nil {
					y += bias[(at+i)%len(bias)]
				}
				out[t][at+i] = y
			}
		}
	}
	return out
}
