package tune

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"nibble/kernels/durable"
	"nibble/model"
	"nibble/quant"
)

// score is what one way to store a matrix loses, all else float.
type score struct {
	Err float64 `json:"err"` // of the matrix's outputs, as quant.Screen has it; NaN where it is not known
	KLD float64 `json:"kld"` // of the model; NaN where it is not measured
}

// scores keeps what screening measured, across runs and goals: one JSON object a
// line in a file for each model, text and calibration. A line that cannot be read
// is a score that is measured again.
type scores struct {
	known  map[scoreKey]score
	log    *durable.Log // nil keeps nothing
	failed error        // why nothing is kept any more
}

type scoreKey struct {
	Module string `json:"module"`
	Spec   string `json:"spec"`
}

type scoreLine struct {
	Key string `json:"key"` // fingerprint of all else that scores depend on
	scoreKey
	Err *float64 `json:"err,omitempty"`
	KLD *float64 `json:"kld,omitempty"`
}

// Bounds of the cache: a file, which takes 200 bytes a score, and all files.
const (
	maxScores    = 64 << 20
	maxAllScores = 256 << 20
)

// openScores reads the scores of a fingerprint from dir; "" keeps none. A cache
// that cannot be used costs measurements, not an error.
func openScores(dir, key string) *scores {
	s := &scores{known: map[scoreKey]score{}}
	if dir == "" {
		return s
	}
	if s.failed = os.MkdirAll(dir, 0o755); s.failed != nil {
		return s
	}
	path := filepath.Join(dir, "scores-"+key[:16]+".jsonl")
	trimScores(dir, path)
	lines, _ := durable.ReadLog(path, maxScores) // without a file there are none
	for _, line := range lines {
		var l scoreLine
		if json.Unmarshal(line, &l) == nil && l.Key == key && valid(l.Err) && valid(l.KLD) {
			s.set(l.scoreKey, l.Err, l.KLD)
		}
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // the least recently used go first
	s.log, s.failed = durable.OpenLog(path)
	return s
}

func valid(v *float64) bool { return v == nil || *v >= 0 && !math.IsInf(*v, 1) }

// trimScores deletes the files used longest ago until the others, keep aside, fit.
func trimScores(dir, keep string) {
	files, _ := filepath.Glob(filepath.Join(dir, "scores-*.jsonl"))
	type file struct {
		path string
		info os.FileInfo
	}
	var all []file
	total := int64(0)
	for _, path := range files {
		if info, err := os.Stat(path); err == nil && info.Size() > maxScores {
			os.Remove(path)
		} else if err == nil {
			all = append(all, file{path, info})
			total += info.Size()
		}
	}
	slices.SortFunc(all, func(a, b file) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	for _, f := range all {
		if total > maxAllScores && f.path != keep && os.Remove(f.path) == nil {
			total -= f.info.Size()
		}
	}
}

func (s *scores) set(k scoreKey, err, kld *float64) {
	sc := s.get(k)
	if err != nil {
		sc.Err = *err
	}
	if kld != nil {
		sc.KLD = *kld
	}
	s.known[k] = sc
}

func (s *scores) get(k scoreKey) score {
	if sc, ok := s.known[k]; ok {
		return sc
	}
	return score{math.NaN(), math.NaN()}
}

// add keeps a score; nil is not known.
func (s *scores) add(key string, k scoreKey, err, kld *float64) {
	s.set(k, err, kld)
	if s.log == nil || !valid(err) || !valid(kld) {
		return
	}
	line, _ := json.Marshal(scoreLine{key, k, err, kld}) // numbers and strings always marshal
	if s.failed = s.log.Add(line); s.failed != nil {
		s.close() // a full disk
	}
}

func (s *scores) close() {
	if s.log != nil {
		s.log.Close()
		s.log = nil
	}
}

// keyOf names an option of a matrix.
func keyOf(m model.Module, s quant.Spec) scoreKey { return scoreKey{m.Name, s.String()} }
