package eval

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
)

// Hidden states are taken over only if they are whole and what is wanted; all of
// them can be read then.
func FuzzStates(f *testing.F) {
	want := statesHeader{Key: "k", Windows: 2, Size: 3}
	header := []byte(`{"key":"k","windows":2,"size":3,"ppl":7.5,"ppl_se":0.1,"tokens":4}`)
	f.Add(header, make([]byte, 24), true)
	f.Add([]byte(`{"key":"k","windows":2,"size":3,"ppl":"Infinity"}`), make([]byte, 24), true)
	f.Add([]byte(`{"key":"k","windows":-1,"size":9223372036854775807}`), []byte{}, true)
	f.Add(header, make([]byte, 32), false)
	path := filepath.Join(f.TempDir(), "states")
	f.Fuzz(func(t *testing.T, header, body []byte, summed bool) {
		file := append([]byte(statesMagic), binary.LittleEndian.AppendUint32(nil, uint32(len(header)))...)
		file = binary.LittleEndian.AppendUint32(append(file, header...), crc32.Checksum(header, castagnoli))
		if summed { // give each window its checksum
			for n := 4 * want.Size; len(body) >= n; body = body[n:] {
				file = binary.LittleEndian.AppendUint32(append(file, body[:n]...), crc32.Checksum(body[:n], castagnoli))
			}
		}
		if err := os.WriteFile(path, append(file, body...), 0o644); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		s, h, err := openStates(in, want)
		if err != nil {
			return
		}
		if h.Key != want.Key || h.Windows != want.Windows || h.Size != want.Size {
			t.Errorf("%+v", h)
		}
		for i := range want.Windows {
			if w, err := s.reader().window(i); err != nil || len(w) != want.Size {
				t.Errorf("window %d: %v, %v", i, w, err)
			}
		}
	})
}

// Answers are taken over only if there is one for each choice of each question.
func FuzzAnswers(f *testing.F) {
	set, err := parseTask("t", []byte(`{"context": "a", "choices": [" b", " c"], "gold": 1}`), nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{`[{"log_probs":[-1,-2]}]`, `[{"LogProbs":[-1,-2],"Alone":null}]`, `[{"LogProbs":["-Infinity",-2]}]`, `[]`, `[null]`, `{`} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, answers []byte) {
		path := filepath.Join(dir, "a.answers")
		file := append([]byte(`{"key":"k","sum":"`+sumOf(answers)+`","answers":`), append(bytes.Clone(answers), '}')...)
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		got, ok := loadAnswers(newCache(dir), path, "k", set)
		if !ok {
			return
		}
		for i, item := range set.Items {
			if len(got) != len(set.Items) || len(got[i].LogProbs) != len(item.Choices) || len(got[i].Alone) != len(item.Alone) {
				t.Fatalf("%s: %+v", answers, got)
			}
		}
		set.results(got, got)
	})
}
