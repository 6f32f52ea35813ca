package tune

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
	dir, key := t.TempDir(), strings.Repeat("a", 64)
	s := openScores(dir, key)
	one, two := 0.25, 0.5
	k := scoreKey{"model.layers.0.mlp.up_proj", "w4 g32 sym rtn"}
	s.add(key, k, &one, nil)
	s.add(key, k, nil, &two)
	s.close()
	if got := openScores(dir, key).get(k); got != (score{0.25, 0.5}) {
		t.Errorf("%v read back", got)
	}
	// Lines that are damaged, torn, of another fingerprint or out of range.
	path := filepath.Join(dir, "scores-"+key[:16]+".jsonl")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`{"key":"` + strings.Repeat("b", 64) + `","module":"other","spec":"x","err":1}`, `{"key":"` + key + `","module":"negative","spec":"x","err":-1}`} {
		sealed, err := durable.Seal([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "%s\n", sealed)
	}
	fmt.Fprintf(f, `{"key":"%s","module":"unsealed","spec":"x","err":1}`+"\n", key)
	fmt.Fprint(f, "\x00\xff nonsense\n"+`{"key":"`+key+`","module":"torn","sp`)
	f.Close()
	s = openScores(dir, key)
	if len(s.known) != 1 || s.get(k) != (score{0.25, 0.5}) {
		t.Errorf("%v read from a damaged file", s.known)
	}
	after := scoreKey{"after", "x"}
	s.add(key, after, &one, &two)
	s.close()
	s = openScores(dir, key)
	if s.get(after) != (score{0.25, 0.5}) {
		t.Error("a score after a torn line is lost")
	}
	if got := s.get(scoreKey{"no", "such"}); !math.IsNaN(got.Err) || !math.IsNaN(got.KLD) {
		t.Errorf("an unknown score is %v", got)
	}
	// A file in the place of the directory costs measurements, not an error.
	s = openScores(path, key)
	s.add(key, k, &one, nil)
	if s.get(k).Err != one || s.failed == nil {
		t.Errorf("without a file the score is %v, %v is told", s.get(k), s.failed)
	}
	// What is no number is not kept.
	s = openScores(dir, key)
	defer s.close()
	if none := math.Inf(1); s.failed == nil {
		s.add(key, k, &none, &two)
	}
	if again := openScores(dir, key); s.failed != nil || again.get(k) != (score{0.25, 0.5}) {
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
	huge := write("huge", maxScores+1, 0)
	oldest := write("a", maxScores, 9*time.Hour)
	keep := write("b", maxScores, 8*time.Hour)
	var rest []string
	for i := range 3 {
		rest = append(rest, write(fmt.Sprint("c", i), maxScores-1, time.Duration(7-i)*time.Hour))
	}
	trimScores(dir, keep)
	for path, want := range map[string]bool{huge: false, oldest: false, keep: true, rest[0]: true, rest[1]: true, rest[2]: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s kept: %v, want %v", filepath.Base(path), err == nil, want)
		}
	}
}
