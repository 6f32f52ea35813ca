package kernels

import "testing"

func TestBucketOf(t *testing.T) {
	for m, want := range map[int]int{1: 1, 2: 4, 4: 4, 5: 16, 16: 16, 17: 64, 64: 64, 65: 256, 256: 256, 5000: 256} {
		if got := bucketOf(m); got != want {
			t.Errorf("%d tokens are in bucket %d, want %d", m, got, want)
		}
	}
}

// randomPair is a matrix of four bits and one of eight, of one shape.
func randomPair(t *testing.T, n, k int) (four, eight *Linear) {
	t.Helper()
	var err error
	four, err = randomWeights(n, k, Scheme{Bits: 4, Group: 32, Sym: true})
	must(t, err)
	eight, err = randomWeights(n, k, Scheme{Bits: 8, Group: 32, Sym: true})
	must(t, err)
	return four, eight
}

// Choices are looked up by format, shape and batch, and taken as they are; kernels of
// four and eight bits often share a name. What nothing was chosen for takes the last
// kernel.
func TestInstall(t *testing.T) {
	e := testEngine(t, Options{Threads: 3})
	four, eight := randomPair(t, 64, 96)
	other, _ := randomPair(t, 48, 96)
	for _, name := range e.Kernels() {
		table := &Table{}
		for _, format := range []string{"w4 g32 sym", "w8 g32 sym", "nonsense"} {
			table.Choices = append(table.Choices, Choice{Shape: Shape{Format: format, N: 64, K: 96, M: 16}, Kernel: name, Workers: 2, Block: 5})
		}
		e.install(table)
		if e.Table() != table {
			t.Error("another table is installed")
		}
		for _, w := range []*Linear{four, eight} {
			s := w.scheme
			for m, chosen := range map[int]bool{1: false, 4: false, 5: true, 16: true, 17: false} {
				got := e.wayFor(w, m)
				k := e.ints[got.kernel]
				if !k.takes(s) {
					t.Fatalf("%s: %s is multiplied by %s of %s", name, s, k, k.Format)
				}
				if !e.has(name, s) || !chosen {
					if got != e.static(s) {
						t.Errorf("%s, %s, %d tokens: %+v, want what is taken without a choice", name, s, m, got)
					}
				} else if want := (way{got.kernel, 2, 5}); got != want || k.String() != name {
					t.Errorf("%s, %s, %d tokens: %s %+v, want %+v", name, s, m, k, got, want)
				}
			}
		}
		if got := e.wayFor(other, 16); got != e.static(four.scheme) {
			t.Errorf("%s: another shape takes the choice %+v", name, got)
		}
	}
}

// has reports whether there is a kernel of a name for a scheme.
func (e *Engine) has(name string, s Scheme) bool {
	for _, k := range e.ints {
		if k.String() == name && k.takes(s) {
			return true
		}
	}
	return false
}

// A forced kernel multiplies what it can on all threads; the last kernel does the rest.
func TestForce(t *testing.T) {
	e := testEngine(t, Options{Threads: 2})
	if err := e.Force("no such kernel"); err == nil || e.Forced() != "" {
		t.Errorf("an unknown kernel: %v, %q is forced", err, e.Forced())
	}
	four, eight := randomPair(t, 16, 32)
	for _, name := range e.Kernels() {
		must(t, e.Force(name))
		if e.Forced() != name {
			t.Errorf("%q is forced, want %q", e.Forced(), name)
		}
		for _, w := range []*Linear{four, eight} {
			s := w.scheme
			got := e.wayFor(w, 1)
			if k := e.ints[got.kernel]; !k.takes(s) || e.has(name, s) && k.String() != name || !e.has(name, s) && got != e.static(s) {
				t.Errorf("forced %s, %s is multiplied by %s of %s", name, s, k, k.Format)
			}
			if got.workers != 2 || got.block != panelBlock {
				t.Errorf("forced %s: %+v", name, got)
			}
		}
	}
	must(t, e.Force(""))
	if e.Forced() != "" || e.wayFor(four, 1) != e.static(four.scheme) {
		t.Error("a kernel is still forced")
	}
}
