package attention

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"nibble/kernels/kerneltest"
	"nibble/kernels/layout"
	"nibble/kernels/number"
)

func TestKVCacheRefuses(t *testing.T) {
	for _, c := range []struct {
		heads, dim int
		dt         number.DType
	}{{1, 1, number.BF16}, {0, 8, number.F32}, {4, 0, number.F16}, {-1, 8, number.F16}} {
		if _, err := NewKVCache(c.heads, c.dim, c.dt); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// A cache takes the memory it says, keeps what was stored when it grows, does not move
// when it need not, and has blocks apart that do not meet in the caches of the CPU.
func TestKVCacheGrows(t *testing.T) {
	e := testEngine(t, Options{Threads: 1})
	for _, c := range []attentionCase{{kv: 2, dim: 6, dt: number.F32}, {kv: 2, dim: 6, dt: number.F16}, {kv: 8, dim: 64, dt: number.F16}, {kv: 4, dim: 64, dt: number.F32}, {kv: 1, dim: 300, dt: number.F16}} {
		what := fmt.Sprintf("%d heads of %d, %s", c.kv, c.dim, c.dt)
		cache, err := NewKVCache(c.kv, c.dim, c.dt)
		kerneltest.Must(t, err)
		if cache.Cap() != 0 || cache.Bytes() != 0 {
			t.Errorf("%s: an empty cache has room for %d positions in %d bytes", what, cache.Cap(), cache.Bytes())
		}
		size := c.dt.Size()
		if cache.keyStep*size%(16<<10) == 0 || cache.valueStep*size%(16<<10) == 0 {
			t.Errorf("%s: blocks lie %d and %d bytes apart", what, cache.keyStep*size, cache.valueStep*size)
		}
		key := make([]float32, c.kv*c.dim)
		at := func(pos, i int) float32 { return float32(pos*100+i%100) / 4 } // exact in F16
		check := func(stored int) {
			t.Helper()
			for pos := range stored {
				for h := range c.kv {
					for d := range c.dim {
						k := floatAt(cache.keysOf(h, pos/layout.KeyBlock), c.dt, d*layout.KeyBlock+pos%layout.KeyBlock)
						v := floatAt(cache.valuesOf(h, pos/layout.KeyBlock), c.dt, pos%layout.KeyBlock*cache.width+d)
						if want := at(pos, h*c.dim+d); k != want || v != -want {
							t.Fatalf("%s: key and value %d of head %d at %d are %g and %g, want %g and its negative", what, d, h, pos, k, v, want)
						}
					}
				}
			}
		}
		stored := 0
		for _, n := range []int{5, 16, 17, 40} {
			cache.Reserve(nil, n, stored)
			if cache.Cap() < n || cache.Cap() >= n+layout.KeyBlock {
				t.Errorf("%s: room for %d positions, want %d", what, cache.Cap(), n)
			}
			if got, want := int64(len(cache.keys.Bytes)+len(cache.values.Bytes)), cache.Bytes(); got != want || want != cache.ReserveBytes(n) {
				t.Errorf("%s, %d positions: %d bytes, planned %d and %d", what, n, got, want, cache.ReserveBytes(n))
			}
			check(stored)
			stored = min(n, 19)
			for pos := range stored {
				for i := range key {
					key[i] = at(pos, i)
				}
				value := slices.Clone(key)
				for i := range value {
					value[i] = -value[i]
				}
				e.Store(cache, pos, key, value)
			}
			check(stored)
			place := unsafe.SliceData(cache.keys.Bytes)
			cache.Reserve(nil, cache.Cap(), stored)
			cache.Reserve(nil, 1, stored)
			if unsafe.SliceData(cache.keys.Bytes) != place {
				t.Errorf("%s: a cache that has room moved", what)
			}
		}
	}
}

// What is stored is loaded again: as it was in F32, rounded in F16.
func TestLoadWhatWasStored(t *testing.T) {
	const heads, dim, positions = 3, 20, 37
	eng := testEngine(t, Options{Threads: 1})
	for _, dt := range []number.DType{number.F32, number.F16} {
		c, err := NewKVCache(heads, dim, dt)
		if err != nil {
			t.Fatal(err)
		}
		c.Reserve(nil, positions, 0)
		rng := rand.New(rand.NewPCG(1, 2))
		var stored [positions][2][]float32
		for p := range stored {
			for i := range stored[p] {
				x := make([]float32, heads*dim)
				for j := range x {
					x[j] = float32(rng.NormFloat64())
				}
				stored[p][i] = x
			}
			eng.Store(c, p, stored[p][0], stored[p][1])
		}
		for p, both := range stored {
			key, value := make([]float32, heads*dim), make([]float32, heads*dim)
			c.Load(p, key, value)
			for _, x := range both {
				number.RoundFloats(x, dt)
			}
			if !slices.Equal(key, both[0]) || !slices.Equal(value, both[1]) {
				t.Fatalf("%s: position %d has other keys or values", dt, p)
			}
		}
	}
}
