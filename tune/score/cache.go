package score

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"nibble/kernels/durable"
)

// Score is what an option loses, all else float.
type Score struct {
	Err float64 `json:"err"` // of the matrices' outputs, as quant.Screen has it; NaN where it is not known
	KLD float64 `json:"kld"` // of the model; NaN where it is not measured
}

// Cache keeps what screening measured, across runs and goals: one JSON object a
// line in a file for each model, text and calibration. A line that cannot be read
// is a score that is measured again.
type Cache struct {
	known  map[key]Score
	log    *durable.Log // nil keeps nothing
	basis  string
	failed error // why nothing is kept any more
}

// key names an option of a unit.
type key struct {
	Matrix string `json:"matrix"`
	Spec   string `json:"spec"`
}

type line struct {
	Basis string `json:"basis"` // hash of all else that scores depend on
	key
	Err *float64 `json:"err,omitempty"`
	KLD *float64 `json:"kld,omitempty"`
}

// Bounds of the cache: a file, which takes 200 bytes a score, and all files.
const (
	maxFile  = 64 << 20
	maxFiles = 256 << 20
)

// OpenCache reads the scores of a basis, which is a hash, from dir; "" keeps none. A cache
// that cannot be used costs measurements, not an error.
func OpenCache(dir, basis string) *Cache {
	s := &Cache{basis: basis, known: map[key]Score{}}
	if dir == "" {
		return s
	}
	if s.failed = os.MkdirAll(dir, 0o755); s.failed != nil {
		return s
	}
	path := filepath.Join(dir, "scores-"+basis[:16]+".jsonl")
	trim(dir, path)
	lines, _ := durable.ReadLog(path, maxFile) // without a file there are none
	for _, text := range lines {
		var l line
		if json.Unmarshal(text, &l) == nil && l.Basis == basis && valid(l.Err) && valid(l.KLD) {
			s.set(l.key, l.Err, l.KLD)
		}
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // the least recently used go first
	s.log, s.failed = durable.OpenLog(path)
	return s
}

func valid(v *float64) bool { return v == nil || *v >= 0 && !math.IsInf(*v, 1) }

// trim deletes the files used longest ago until the others, keep aside, fit.
func trim(dir, keep string) {
	files, _ := filepath.Glob(filepath.Join(dir, "scores-*.jsonl"))
	type file struct {
		path string
		info os.FileInfo
	}
	var all []file
	total := int64(0)
	for _, path := range files {
		if info, err := os.Stat(path); err == nil && info.Size() > maxFile {
			os.Remove(path)
		} else if err == nil {
			all = append(all, file{path, info})
			total += info.Size()
		}
	}
	slices.SortFunc(all, func(a, b file) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	for _, f := range all {
		if total > maxFiles && f.path != keep && os.Remove(f.path) == nil {
			total -= f.info.Size()
		}
	}
}

func (s *Cache) set(k key, err, kld *float64) {
	sc := s.get(k)
	if err != nil {
		sc.Err = *err
	}
	if kld != nil {
		sc.KLD = *kld
	}
	s.known[k] = sc
}

func (s *Cache) get(k key) Score {
	if sc, ok := s.known[k]; ok {
		return sc
	}
	return Score{math.NaN(), math.NaN()}
}

// add keeps a score; nil is not known.
func (s *Cache) add(k key, err, kld *float64) {
	s.set(k, err, kld)
	if s.log == nil || !valid(err) || !valid(kld) {
		return
	}
	text, _ := json.Marshal(line{s.basis, k, err, kld}) // numbers and strings always marshal
	if s.failed = s.log.Add(text); s.failed != nil {
		s.Close() // a full disk
	}
}

// Failed is why what is measured is not kept any more, nil if it is.
func (s *Cache) Failed() error { return s.failed }

// Close ends keeping.
func (s *Cache) Close() {
	if s.log != nil {
		s.log.Close()
		s.log = nil
	}
}
