package kernels

import (
	"fmt"
	"runtime"
	"unsafe"
)

// KVCache holds the keys and values of one layer's attention, in float32 or,
// for half the memory and twice the speed at long contexts, in F16.
//
// Keys are interleaved in blocks of 16 positions, element by element, so that
// scores come out 16 wide without a sum across lanes:
//
//	keys:   [head][position/16][dim][position%16]
//	values: [head][position][width], width being dim rounded up to 16
type KVCache struct {
	dt          DType
	heads, dim  int
	width, cap  int
	keys, value *memory
}

// keyBlock is the number of interleaved positions, and the unit of widths.
const keyBlock = 16

// NewKVCache returns an empty cache for a number of key heads of dim elements;
// dt is F32 or F16.
func NewKVCache(heads, dim int, dt DType) (*KVCache, error) {
	if dt != F32 && dt != F16 {
		return nil, fmt.Errorf("keys and values cannot be stored as %s (F32 and F16 can)", dt)
	}
	if heads <= 0 || dim <= 0 {
		return nil, fmt.Errorf("a cache of %d heads of %d elements", heads, dim)
	}
	return &KVCache{dt: dt, heads: heads, dim: dim, width: roundUp(dim, keyBlock)}, nil
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// Bytes returns the memory the cache takes.
func (c *KVCache) Bytes() int64 {
	return c.ReserveBytes(c.cap)
}

// Cap returns how many positions the cache has room for.
func (c *KVCache) Cap() int { return c.cap }

// ReserveBytes returns the memory that Reserve takes for n positions.
func (c *KVCache) ReserveBytes(n int) int64 {
	return int64(roundUp(n, keyBlock)) * int64(c.heads) * int64(c.dim+c.width) * int64(c.dt.Size())
}

// Reserve makes room for n positions in the arena, which may be nil, and keeps
// the first used ones.
func (c *KVCache) Reserve(a *Arena, n, used int) {
	if n <= c.cap {
		return
	}
	old := *c
	c.cap = roundUp(n, keyBlock)
	size := c.dt.Size()
	c.keys = a.memory(c.heads * c.cap * c.dim * size)
	c.value = a.memory(c.heads * c.cap * c.width * size)
	if old.cap == 0 {
		return
	}
	for h := range c.heads {
		copy(c.headKeys(h), old.headKeys(h)[:roundUp(used, keyBlock)*c.dim*size])
		copy(c.headValues(h), old.headValues(h)[:used*c.width*size])
	}
	old.keys.free()
	old.value.free()
}

func (c *KVCache) headKeys(h int) []byte {
	n := c.cap * c.dim * c.dt.Size()
	return c.keys.bytes[h*n:][:n]
}

func (c *KVCache) headValues(h int) []byte {
	n := c.cap * c.width * c.dt.Size()
	return c.value.bytes[h*n:][:n]
}

// Store puts the keys and values of one position, heads x dim each, into the
// cache. Positions may be stored concurrently.
func (e *Engine) Store(c *KVCache, pos int, key, value []float32) {
	var buf [256]uint16
	for h := range c.heads {
		k, v := key[h*c.dim:(h+1)*c.dim], value[h*c.dim:(h+1)*c.dim]
		place := pos/keyBlock*c.dim*keyBlock + pos%keyBlock
		if c.dt == F32 {
			keys, values := elements[float32](c.headKeys(h))[place:], elements[float32](c.headValues(h))[pos*c.width:]
			for i, x := range k {
				keys[i*keyBlock] = x
			}
			copy(values, v)
			continue
		}
		keys, values := elements[uint16](c.headKeys(h))[place:], elements[uint16](c.headValues(h))[pos*c.width:]
		e.ops.encodeF16(values[:c.dim], v)
		for i := 0; i < c.dim; i += len(buf) {
			part := buf[:min(len(buf), c.dim-i)]
			e.ops.encodeF16(part, k[i:i+len(part)])
			for j, x := range part {
				keys[(i+j)*keyBlock] = x
			}
		}
	}
	runtime.KeepAlive(c)
}

// elements views bytes, which are aligned, as numbers; every platform that
// nibble supports is little-endian.
func elements[T float32 | uint16](b []byte) []T {
	var t T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(t)))
}
