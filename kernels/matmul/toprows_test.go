package matmul

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"nibble/kernels/format"
)

func withoutTop(s format.Scheme) format.Scheme {
	s.Top = 0
	return s
}

// randomTop is a random matrix in which random rows have eight bits.
func randomTop(t testing.TB, rng *rand.Rand, rows, cols int, s format.Scheme) *format.QTensor {
	q := randomQTensor(t, rng, rows, cols, s)
	for i, r := range rng.Perm(rows)[:len(q.TopRows)] {
		q.TopRows[i] = int32(r)
	}
	slices.Sort(q.TopRows)
	further := format.QTensor{Rows: len(q.TopRows), Cols: cols, Scheme: withoutTop(s), Codes: q.TopCodes}
	for i := range q.TopRows {
		for c := range cols {
			further.SetCode(i, c, uint8(rng.IntN(16)))
		}
	}
	return q
}

// A product with rows of eight bits is bit for bit that of the four bits of all
// rows, to which that of the further four bits is added, and a row is what the
// tensor says, for ragged shapes, any number of tokens and of threads.
func TestTopRowsAddUp(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(5, 6))
	for _, threads := range []int{1, 2} {
		eng := testEngine(t, Options{Threads: threads})
		for _, shape := range [][2]int{{1, 32}, {17, 40}, {100, 96}, {300, 256}} {
			for _, s := range []format.Scheme{{Bits: 4, Group: 32, Sym: true, Top: 1}, {Bits: 4, Sym: true, Top: 37}, {Bits: 4, Group: 128, Sym: true, Top: 99}} {
				n, k := shape[0], shape[1]
				q := randomTop(t, rng, n, k, s)
				if err := q.Validate(); err != nil {
					t.Fatal(err)
				}
				four := *q
				four.Scheme, four.TopRows, four.TopCodes = withoutTop(s), nil, nil
				var ls [3]*Linear
				for i, q := range []*format.QTensor{q, &four, q.TopTensor()} {
					var err error
					if ls[i], err = NewQuantLinear(q); err != nil {
						t.Fatal(err)
					}
				}
				if got := ls[0].Bytes(); got != format.PackedBytes(n, k, s) || got != ls[1].Bytes()+ls[2].Bytes() {
					t.Errorf("%s: %d bytes, planned are %d", s, got, format.PackedBytes(n, k, s))
				}
				if got, ok := ls[0].Scheme(); got != s || !ok || ls[0].Format() != s.String() {
					t.Errorf("%s: a matrix of %s", s, got)
				}
				a, b := make([]float32, k), make([]float32, k)
				for r := range n {
					ls[0].Row(a, r)
					q.DequantRow(b, r)
					if !slices.Equal(a, b) {
						t.Fatalf("%s, row %d: %v is not %v", s, r, a, b)
					}
				}
				for _, m := range []int{1, 3, 70} {
					x := make([]float32, m*k)
					for i := range x {
						x[i] = float32(rng.NormFloat64())
					}
					acts := eng.NewActs()
					acts.Set(x, m, k)
					got, want, add := make([]float32, m*n), make([]float32, m*n), make([]float32, m*len(q.TopRows))
					other := make([]float32, m*n)
					for range 2 { // what a product leaves behind does not matter
						// Beside another matrix, as query, key and value are.
						if err := eng.MatMul(ctx, acts, Product{ls[1], other}, Product{ls[0], got}); err != nil {
							t.Fatal(err)
						}
					}
					if err := eng.MatMul(ctx, acts, Product{ls[1], want}, Product{ls[2], add}); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(other, want) {
						t.Fatalf("%s, %d tokens: the matrix beside changed", s, m)
					}
					for i := range m {
						for j, r := range q.TopRows {
							want[i*n+int(r)] += add[i*len(q.TopRows)+j]
						}
					}
					if !slices.Equal(got, want) {
						t.Fatalf("%d threads, %s, %d x %d, %d tokens: the sum of the parts differs", threads, s, n, k, m)
					}
				}
			}
		}
	}
}
