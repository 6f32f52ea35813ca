package score

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nibble/kernels/durable"
)

func TestScores(t *testing.T) {
	dir, basis := t.TempDir(), strings.Repeat("a", 64)
	s := OpenCache(dir, basis)
	one, two := 0.25, 0.5
	k := key{"model.layers.0.mlp.up_proj", "w4 g32 sym rtn"}
	s.add(k, &one, nil)
	s.add(k, nil, &two)
	s.Close()
	if got := OpenCache(dir, basis).get(k); got != (Score{0.25, 0.5}) {
		t.Errorf("%v read back", got)
	}
	// Lines that are damaged, torn, of another fingerprint or out of range.
	path := filepath.Join(dir, "scores-"+basis[:16]+".jsonl")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`{"basis":"` + strings.Repeat("b", 64) + `","matrix":"other","spec":"x","err":1}`, `{"basis":"` + basis + `","matrix":"negative","spec":"x","err":-1}`} {
		sealed, err := durable.Seal([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "%s\n", sealed)
	}
	fmt.Fprintf(f, `{"basis":"%s","matrix":"unsealed","spec":"x","err":1}`+"\n", basis)
	fmt.Fprint(f, "\x00\xff nonsense\n"+`{"basis":"`+basis+`","matrix":"torn","sp`)
	f.Close()
	s = OpenCache(dir, basis)
	if len(s.known) != 1 || s.get(k) != (Score{0.25, 0.5}) {
		t.Errorf("%v read from a damaged file", s.known)
	}
	after := key{"after", "x"}
	s.add(after, &one, &two)
	s.Close()
	s = OpenCache(dir, basis)
	if s.get(after) != (Score{0.25, 0.5}) {
		t.Error("a score after a torn line is lost")
	}
	if got := s.get(key{"no", "such"}); !math.IsNaN(got.Err) || !math.IsNaN(got.KLD) {
		t.Errorf("an unknown score is %v", got)
	}
	// A file in the place of the directory costs measurements, not an error.
	s = OpenCache(path, basis)
	s.add(k, &one, nil)
	if s.get(k).Err != one || s.failed == nil {
		t.Errorf("without a file the score is %v, %v is told", s.get(k), s.failed)
	}
	// What is no number is not kept.
	s = OpenCache(dir, basis)
	defer s.Close()
	if none := math.Inf(1); s.failed == nil {
		s.add(k, &none, &two)
	}
	if again := OpenCache(dir, basis); s.failed != nil || again.get(k) != (Score{0.25, 0.5}) {
		t.Errorf("%v is kept, %v", again.get(k), s.failed)
	}
}

func TestScoresAreBounded(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int64, age time.Duration) string {
		path := filepath.Join(dir, "scores-"+name+".jsonl")
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil { // sparse: takes no room
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	huge := write("huge", maxFile+1, 0)
	oldest := write("a", maxFile, 9*time.Hour)
	keep := write("b", maxFile, 8*time.Hour)
	var rest []string
	for i := range 3 {
		rest = append(rest, write(fmt.Sprint("c", i), maxFile-1, time.Duration(7-i)*time.Hour))
	}
	trim(dir, keep)
	for path, want := range map[string]bool{huge: false, oldest: false, keep: true, rest[0]: true, rest[1]: true, rest[2]: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s kept: %v, want %v", filepath.Base(path), err == nil, want)
		}
	}
}
