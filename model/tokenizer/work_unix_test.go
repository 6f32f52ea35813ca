//go:build unix

package tokenizer

import (
	"math"
	"path/filepath"
	"syscall"
	"testing"
)

// worked returns the processor time in seconds that f takes at least, of some
// attempts: a busy machine does not make it longer, as it does a clock on the wall.
func worked(t *testing.T, tries int, f func()) float64 {
	t.Helper()
	now := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	least := math.Inf(1)
	for range tries {
		before := now()
		f()
		least = min(least, now()-before)
	}
	return least
}

// The work of a text without a place to cut, or with one everywhere, grows as the
// text does: sixteen times the text takes some twenty times the work, where looking
// at every pair of symbols would take 256 times.
func TestLongWordsWork(t *testing.T) {
	const size, times, most = 1 << 12, 16, 80
	for _, path := range tokenizers() {
		tok := loadFile(t, filepath.Dir(path))
		short, long := longTexts(size), longTexts(size*times)
		for name := range short {
			encode := func(text string) func() { return func() { tok.Encode(text, EncodeOptions{}) } }
			encode(short[name])() // a first time, for what is made only once
			// What is over in less than the clock of the system can tell is no work.
			a, b := max(worked(t, 3, encode(short[name])), 1e-3), worked(t, 3, encode(long[name]))
			if b > most*a {
				t.Fatalf("%s, %s: %.4f s for %d bytes, %.4f s for %d", path, name, a, size, b, size*times)
			}
		}
	}
}
