package matmul

import (
	"context"
	"slices"
)

// topSum is a product of further codes on its way into the product it adds to.
type topSum struct {
	rows     []int32
	n        int // rows of the product
	dst, add []float32
}

// withTops adds to products those of the further codes of their matrices.
func (a *Acts) withTops(ps []Product) ([]Product, []topSum) {
	if !slices.ContainsFunc(ps, func(p Product) bool { return p.W.top != nil }) {
		return ps, nil
	}
	all, sums, size := slices.Clone(ps), []topSum(nil), 0
	for _, p := range ps {
		size += len(p.W.topRows) * a.m
	}
	if cap(a.top) < size {
		a.top = make([]float32, size)
	}
	free := a.top[:size]
	for _, p := range ps {
		if p.W.top == nil {
			continue
		}
		n := len(p.W.topRows) * a.m
		all = append(all, Product{p.W.top, free[:n]})
		sums, free = append(sums, topSum{p.W.topRows, p.W.n, p.Dst, free[:n]}), free[n:]
	}
	return all, sums
}

// addTops adds the products of further codes to those of all rows, for m tokens.
func (e *Products) addTops(ctx context.Context, m int, s topSum) error {
	return e.Pool.Run(ctx, m, max(1, 16384/len(s.rows)), func(_, lo, hi int) {
		for t := lo; t < hi; t++ {
			dst, add := s.dst[t*s.n:][:s.n], s.add[t*len(s.rows):][:len(s.rows)]
			for i, r := range s.rows {
				dst[r] += add[i]
			}
		}
	})
}
