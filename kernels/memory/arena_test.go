package memory

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
		var parts []*Block
		for n := int64(0); n < 2*size; n += size / 7 {
			parts = append(parts, a.Take(int(size/7)))
		}
		inside := 0
		for i, p := range parts {
			if len(p.Bytes) != int(size/7) {
				t.Fatalf("a part of %d bytes, not %d", len(p.Bytes), size/7)
			}
			if p.arena == a {
				inside++
			}
			if at := uintptr(unsafe.Pointer(&p.Bytes[0])); at%layout.LineBytes != 0 {
				t.Errorf("part %d begins inside a line of the cache", i)
			}
			for j, v := range p.Bytes {
				if v != 0 {
					t.Fatalf("byte %d of part %d is %d before it is written", j, i, v)
				}
				p.Bytes[j] = byte(i + 1)
			}
		}
		if inside < 5 || inside == len(parts) {
			t.Errorf("%d of %d parts are the arena's, which has room for half", inside, len(parts))
		}
		for i, p := range parts {
			if p.Bytes[0] != byte(i+1) || p.Bytes[len(p.Bytes)-1] != byte(i+1) {
				t.Errorf("another part wrote into part %d", i)
			}
		}
		a.Free()
	}
	// What does not fit takes nothing from what does.
	a := NewArena(1000)
	if big, small := a.Take(5000), a.Take(900); big.arena == a || small.arena != a {
		t.Error("a part that does not fit has used up the arena")
	}
	if got := (*Arena)(nil).Take(100); len(got.Bytes) != 100 {
		t.Errorf("without an arena: %d bytes", len(got.Bytes))
	}
}

// TestArenaConcurrently takes parts from many goroutines.
func TestArenaConcurrently(t *testing.T) {
	a := NewArena(1 << 20)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			p := a.Take(1 << 14)
			for j := range p.Bytes {
				p.Bytes[j] += byte(i + 1)
			}
			for _, v := range p.Bytes {
				if v != byte(i+1) {
					t.Errorf("part %d holds %d", i, v)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := a.Take(64); got.arena == a && len(a.mem.Bytes) == 1<<20 {
		t.Error("a full arena gave memory")
	}
}
