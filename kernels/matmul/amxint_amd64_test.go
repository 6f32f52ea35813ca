//go:build linux && amd64 && !noasm

package matmul

import (
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
)

// Tiles are state that signals must save and give back: Go's scheduler sends them
// whenever it wants a thread.
func TestAMXSurvivesSignals(t *testing.T) {
	if !slices.Contains(cpu.Supported(), cpu.AMX) {
		t.Skip("this CPU or system lacks AMX")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	w, err := format.Pack(randomQTensor(t, rng, 64, 2048, format.Scheme{Bits: 4, Group: 32, Sym: true}), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := randomActs(rng, "normal", 32, 2048)
	want, got := make([]float32, 32*64), make([]float32, 32*64)
	MulGeneric(want, 64, a, 0, 32, w, 0, w.Panels())
	done := make(chan struct{})
	sent := make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				sent <- n
				return
			default:
				_ = syscall.Kill(os.Getpid(), syscall.SIGURG)
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; {
		clear(got)
		amxTable[0].run(got, 64, a, 0, 32, w, 0, w.Panels())
		if !slices.Equal(want, got) {
			t.Error("a product differs after signals")
			break
		}
	}
	close(done)
	t.Logf("%d signals", <-sent)
}
