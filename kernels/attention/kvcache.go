package attention

import (
	"fmt"
	"runtime"
	"unsafe"

	"nibble/kernels/layout"
	"nibble/kernels/memory"
	"nibble/kernels/number"
)

// KVCache holds the keys and values of one layer's attention, in float32 or,
// for half the memory and twice the speed at long contexts, in F16.
//
// Keys are interleaved in blocks of 16 positions, element by element, so that
// scores come out 16 wide without a sum across lanes. The heads of a block follow
// each other, so that a token meets all keys, and all values, in one sequence:
//
//	keys:   [position/16][head][dim][position%16]
//	values: [position/16][head][position%16][width], width being dim rounded up to 16
type KVCache struct {
	dt                 number.DType
	heads, dim, width  int
	cap                int
	keyStep, valueStep int // elements between blocks
	keys, values       *memory.Block
}

// NewKVCache returns an empty cache for a number of key heads of dim elements;
// dt is F32 or F16.
func NewKVCache(heads, dim int, dt number.DType) (*KVCache, error) {
	if dt != number.F32 && dt != number.F16 {
		return nil, fmt.Errorf("keys and values cannot be stored as %s (F32 and F16 can)", dt)
	}
	if heads <= 0 || dim <= 0 {
		return nil, fmt.Errorf("a cache of %d heads of %d elements", heads, dim)
	}
	c := &KVCache{dt: dt, heads: heads, dim: dim, width: number.RoundUp(dim, layout.KeyBlock)}
	c.keyStep, c.valueStep = c.step(heads*dim), c.step(heads*c.width)
	return c, nil
}

// step is the distance of blocks of n elements for each position. Those of a head,
// which a batch meets again and again, must not fall on the same few places of the
// caches.
func (c *KVCache) step(n int) int {
	const apart, lines = 16 << 10, 5
	n *= layout.KeyBlock
	if n*c.dt.Size()%apart == 0 {
		n += lines * layout.LineBytes / c.dt.Size()
	}
	return n
}

// Bytes returns the memory the cache takes.
func (c *KVCache) Bytes() int64 {
	return c.ReserveBytes(c.cap)
}

// DType returns the type of the cache.
func (c *KVCache) DType() number.DType { return c.dt }

// Cap returns how many positions the cache has room for.
func (c *KVCache) Cap() int { return c.cap }

// ReserveBytes returns the memory that Reserve takes for n positions.
func (c *KVCache) ReserveBytes(n int) int64 {
	return int64(blocksOf(n)) * int64(c.keyStep+c.valueStep) * int64(c.dt.Size())
}

// blocksOf is how many blocks n positions are in.
func blocksOf(n int) int { return (n + layout.KeyBlock - 1) / layout.KeyBlock }

// Reserve makes room for n positions in the arena, which may be nil, and keeps
// the first used ones.
func (c *KVCache) Reserve(a *memory.Arena, n, used int) {
	if n <= c.cap {
		return
	}
	old := *c
	blocks, size := blocksOf(n), c.dt.Size()
	c.cap = blocks * layout.KeyBlock
	c.keys = a.Take(blocks * c.keyStep * size)
	c.values = a.Take(blocks * c.valueStep * size)
	if old.cap == 0 {
		return
	}
	copy(c.keys.Bytes, old.keys.Bytes[:blocksOf(used)*c.keyStep*size])
	copy(c.values.Bytes, old.values.Bytes[:blocksOf(used)*c.valueStep*size])
	old.keys.Free()
	old.values.Free()
}

// keysOf are a head's keys from a block on, keyStep elements from those of the next.
func (c *KVCache) keysOf(head, block int) []byte {
	return c.keys.Bytes[(block*c.keyStep+head*c.dim*layout.KeyBlock)*c.dt.Size():]
}

// valuesOf are a head's values from a block on, valueStep elements from those of the
// next.
func (c *KVCache) valuesOf(head, block int) []byte {
	return c.values.Bytes[(block*c.valueStep+head*c.width*layout.KeyBlock)*c.dt.Size():]
}

// Store puts the keys and values of one position, heads x dim each, into the
// cache and reports whether F16 holds them, be the cache's type F16 or not.
// Positions may be stored concurrently.
func (e *Heads) Store(c *KVCache, pos int, key, value []float32) (fitF16 bool) {
	fitF16 = e.fitsF16(key) && e.fitsF16(value)
	block, at := pos/layout.KeyBlock, uint(pos)%layout.KeyBlock
	for h := range c.heads {
		k, v := key[h*c.dim:(h+1)*c.dim], value[h*c.dim:(h+1)*c.dim]
		if c.dt == number.F32 {
			keys := interleaved[float32](c.keysOf(h, block))[:len(k)]
			for i, x := range k {
				keys[i][at] = x
			}
			copy(number.Elements[float32](c.valuesOf(h, block))[int(at)*c.width:], v)
			continue
		}
		values := number.Elements[uint16](c.valuesOf(h, block))[int(at)*c.width:][:c.dim]
		keys := interleaved[uint16](c.keysOf(h, block))[:len(values)]
		e.vec.EncodeF16(values, k) // on their way to where they lie apart
		for i, x := range values {
			keys[i][at] = x
		}
		e.vec.EncodeF16(values, v)
	}
	runtime.KeepAlive(c)
	return fitF16
}

// interleaved views the keys of a block: of each element, those of all its positions.
func interleaved[T float32 | uint16](b []byte) [][layout.KeyBlock]T {
	var t [layout.KeyBlock]T
	return unsafe.Slice((*[layout.KeyBlock]T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(t)))
}

// Load copies the keys and values of one position, heads x dim each.
func (c *KVCache) Load(pos int, key, value []float32) {
	block, at := pos/layout.KeyBlock, pos%layout.KeyBlock
	for h := range c.heads {
		keys, values := c.keysOf(h, block), c.valuesOf(h, block)
		for i := range c.dim {
			key[h*c.dim+i] = floatAt(keys, c.dt, i*layout.KeyBlock+at)
			value[h*c.dim+i] = floatAt(values, c.dt, at*c.width+i)
		}
	}
	runtime.KeepAlive(c)
}

// fitsF16 reports whether the largest of some values neither becomes infinite in
// F16 nor is left with fewer than eight bits.
func (e *Heads) fitsF16(x []float32) bool {
	const least, beyond = 1.0 / (1 << 17), 65520 // which rounds to infinity
	lo, hi := e.vec.Range(x)
	most := max(hi, -lo)
	return most < beyond && (most >= least || most == 0)
}
