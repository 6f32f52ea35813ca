package score

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/kernels/durable"
)

// sealed gives each line its checksum, where it can have one.
func sealed(data []byte) []byte {
	var log []byte
	for line := range bytes.Lines(data) {
		if s, err := durable.Seal(line); err == nil {
			line = append(s, '\n')
		}
		log = append(log, line...)
	}
	return log
}

// Scores that are recalled are numbers that a search can use.
func FuzzScores(f *testing.F) {
	key := strings.Repeat("ab", 32)
	f.Add([]byte(`{"basis":"` + key + `","matrix":"m","spec":"w4 g32 sym rtn","err":0.1,"kld":0.01}`))
	f.Add([]byte(`{"basis":"` + key + `","matrix":"m","spec":"keep","err":-1}` + "\n" + `{"basis":"` + key + `","kld":1e999}`))
	f.Add([]byte("{}\n{"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "scores-"+key[:16]+".jsonl")
		if err := os.WriteFile(path, sealed(data), 0o644); err != nil {
			t.Fatal(err)
		}
		s := OpenCache(dir, key)
		defer s.Close()
		for k, sc := range s.known {
			for _, v := range []float64{sc.Err, sc.KLD} {
				if v < 0 || math.IsInf(v, 0) {
					t.Errorf("%v: %+v", k, sc)
				}
			}
		}
	})
}
