package kernels

import (
	"sync"
	"testing"
	"unsafe"

	"nibble/kernels/layout"
)

// TestArena checks that parts are zero, apart from each other and on cache
// lines, that what does not fit is allocated by itself, and that no arena serves.
func TestArena(t *testing.T) {
	for _, size := range []int64{1000, 1 << 20, 5 << 20} {
		a := NewArena(size)
		var parts []*memory
		for n := int64(0); n < 2*size; n += size / 7 {
			parts = append(parts, a.memory(int(size/7)))
		}
		inside := 0
		for i, p := range parts {
			if len(p.bytes) != int(size/7) {
				t.Fatalf("a part of %d bytes, not %d", len(p.bytes), size/7)
			}
			if p.arena == a {
				inside++
			}
			if at := uintptr(unsafe.Pointer(&p.bytes[0])); at%layout.LineBytes != 0 {
				t.Errorf("part %d begins inside a line of the cache", i)
			}
			for j, v := range p.bytes {
				if v != 0 {
					t.Fatalf("byte %d of part %d is %d before it is written", j, i, v)
				}
				p.bytes[j] = byte(i + 1)
			}
		}
		if inside < 5 || inside == len(parts) {
			t.Errorf("%d of %d parts are the arena's, which has room for half", inside, len(parts))
		}
		for i, p := range parts {
			if p.bytes[0] != byte(i+1) || p.bytes[len(p.bytes)-1] != byte(i+1) {
				t.Errorf("another part wrote into part %d", i)
			}
		}
		a.Free()
	}
	// What does not fit takes nothing from what does.
	a := NewArena(1000)
	if big, small := a.memory(5000), a.memory(900); big.arena == a || small.arena != a {
		t.Error("a part that does not fit has used up the arena")
	}
	if got := (*Arena)(nil).memory(100); len(got.bytes) != 100 {
		t.Errorf("without an arena: %d bytes", len(got.bytes))
	}
}

// TestArenaConcurrently takes parts from many goroutines.
func TestArenaConcurrently(t *testing.T) {
	a := NewArena(1 << 20)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			p := a.memory(1 << 14)
			for j := range p.bytes {
				p.bytes[j] += byte(i + 1)
			}
			for _, v := range p.bytes {
				if v != byte(i+1) {
					t.Errorf("part %d holds %d", i, v)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := a.memory(64); got.arena == a && len(a.mem.bytes) == 1<<20 {
		t.Error("a full arena gave memory")
	}
}
