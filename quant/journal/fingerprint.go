package journal

import (
	"fmt"

	"nibble/quant/calib"
)

// MethodsVersion changes with anything that changes what a method writes: what
// another version began cannot be finished by this one.
const MethodsVersion = 5

// Fingerprint is everything that the bytes of a result depend on.
type Fingerprint struct {
	Version     int                `json:"version"` // of the methods
	Source      string             `json:"source"`  // SHA-256
	Recipe      string             `json:"recipe"`
	Calibration *calib.Calibration `json:"calibration,omitempty"`
	Kernels     string             `json:"kernels,omitempty"` // the tier whose sums of floats a calibration depends on
}

// Differences says in words how a run that is there differs from this one.
func (f Fingerprint) Differences(now Fingerprint) []string {
	var out []string
	add := func(what string, there, here any) {
		if there != here {
			out = append(out, fmt.Sprintf("%s (there %v, now %v)", what, there, here))
		}
	}
	add("version of the methods", f.Version, now.Version)
	add("model's SHA-256", short(f.Source), short(now.Source))
	add("recipe", f.Recipe, now.Recipe)
	a, b := f.Calibration, now.Calibration
	switch {
	case (a == nil) != (b == nil):
		out = append(out, "calibration")
	case a != nil:
		if a.SHA256 != b.SHA256 { // whatever it is called
			add("calibration text", fmt.Sprintf("%s, SHA-256 %s", a.Name, short(a.SHA256)), fmt.Sprintf("%s, SHA-256 %s", b.Name, short(b.SHA256)))
		}
		add("number of samples", a.Samples, b.Samples)
		add("length of a sample", a.Length, b.Length)
		add("seed", a.Seed, b.Seed)
	}
	add("kernels", f.Kernels, now.Kernels)
	return out
}

func short(hash string) string { return hash[:min(12, len(hash))] }
