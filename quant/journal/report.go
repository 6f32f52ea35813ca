package journal

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"nibble/model"
	"nibble/model/jsonnum"
	"nibble/model/source"
	"nibble/quant/calib"
	"nibble/quant/pass"
	"nibble/quant/recipe"
)

// ByDamage returns the matrices that are quantized, the most damaged first.
func ByDamage(lines []pass.ModuleReport) []pass.ModuleReport {
	out := slices.DeleteFunc(slices.Clone(lines), func(m pass.ModuleReport) bool { return m.Spec == recipe.Keep.String() })
	slices.SortStableFunc(out, func(a, b pass.ModuleReport) int { return cmp.Compare(b.Damage(), a.Damage()) })
	return out
}

// FinishedBefore returns the report of a directory that a run with the same
// arguments completed, if its weights are as they were written. "" is none.
func FinishedBefore(out string, now Fingerprint) (Report, bool) {
	if out == "" {
		return Report{}, false
	}
	report, err := ReadReport(out)
	if err != nil {
		return Report{}, false
	}
	there := Fingerprint{report.Version, report.SourceSHA256, report.Recipe.String(), report.Calibration, report.Kernels}
	if len(there.Differences(now)) > 0 {
		return report, false
	}
	return report, report.Holds(out)
}

// Holds reports whether the weights in a directory are those that the report is of.
func (r Report) Holds(dir string) bool {
	ck, err := model.Open(dir)
	if err != nil {
		return false
	}
	defer ck.Close()
	sum := ""
	err = ck.Guard(func() error { sum = ck.Checksum(); return nil })
	return err == nil && sum == r.Weights
}

// Report says what was done; it is saved as report.json.
type Report struct {
	Source       string              `json:"source"`
	SourceSHA256 string              `json:"source_sha256"`
	Version      int                 `json:"methods_version"`
	Kernels      string              `json:"kernels,omitempty"` // see fingerprint
	Recipe       recipe.Recipe       `json:"recipe"`
	SizeBytes    int64               `json:"size_bytes"`
	BPW          float64             `json:"bpw"`
	Weights      string              `json:"weights_crc32c"` // model.Checkpoint's Checksum
	Modules      []pass.ModuleReport `json:"modules"`
	Calibration  *calib.Calibration  `json:"calibration,omitempty"`

	Substitutions []string `json:"substitutions,omitempty"` // those of the plan, and what only the inputs told
	Evaluation    any      `json:"evaluation,omitempty"`    // what the caller measured
}

// maxReport bounds a report, which has a line for each matrix and, of a search, its
// choices.
const maxReport = 64 << 20

// ReadReport reads the report that Run left in a model's directory.
func ReadReport(dir string) (Report, error) {
	var r Report
	path := filepath.Join(dir, "report.json")
	data, _, err := source.Read(path, maxReport)
	if err != nil {
		return r, err
	}
	if err := jsonnum.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
