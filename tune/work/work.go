package work

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"nibble/eval"
	"nibble/quant"
)

// Kind says what is measured.
type Kind string

// The kinds.
const (
	Error      Kind = "error"      // of the outputs of some matrices, each alone in the float model
	Divergence Kind = "divergence" // of the model's outputs, with only these matrices quantized
	Trial      Kind = "trial"      // the loss of the whole model
)

// Basis is what measurements rest on besides what is measured.
type Basis struct {
	Methods     int         `json:"methods"` // quant.MethodsVersion
	Model       string      `json:"model"`   // hash of the checkpoint
	Text        string      `json:"text"`    // hash of what is judged by
	Ctx         int         `json:"ctx"`     // tokens of a window of it
	Calibration Calibration `json:"calibration"`
}

// Calibration is what a quant.Calibration was drawn from.
type Calibration struct {
	Text    string `json:"text"` // hash
	Seed    uint64 `json:"seed"`
	Samples int    `json:"samples"`
	Length  int    `json:"length"`
}

// CalibrationOf describes a calibration.
func CalibrationOf(c *quant.Calibration) Calibration {
	return Calibration{Text: c.SHA256, Seed: c.Seed, Samples: c.Samples, Length: c.Length}
}

// Work is one measurement.
type Work struct {
	Kind  Kind  `json:"kind"`
	Basis Basis `json:"basis"`

	Matrices []string `json:"matrices,omitempty"` // of an error or a divergence: their names
	Spec     string   `json:"spec,omitempty"`     // what they are stored by

	Recipe *quant.Recipe `json:"recipe,omitempty"` // of a trial
	Beyond float64       `json:"beyond,omitempty"` // a loss beyond which, for sure, it may end early; 0: none
	Keep   bool          `json:"keep,omitempty"`   // what quantizing makes takes long and is kept

	Windows []int `json:"windows,omitempty"` // of the text, that a divergence or a trial is measured on
}

// Key names the work: work of one key has one outcome.
func (w Work) Key() string { return Hash(w) }

// Hash is a hash of plain data.
func Hash(v any) string {
	data, _ := json.Marshal(v) // plain data always marshals
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Outcome is what was measured.
type Outcome struct {
	Value   float64     // of an error: the energy of what outputs lose over their energy; of a divergence: in nats
	Result  eval.Result // of a trial
	Stopped bool        // the trial ended early, and Result is of the windows before
}

// Watcher hears what goes on while a trial is measured. Its functions may be nil.
type Watcher struct {
	Quantizing func(quant.Event)
	Quantized  func()                                      // measuring begins
	Window     func(r eval.Result, windows int) (end bool) // so many windows were measured; true ends the trial
}

// Worker does work. An outcome that depends on when it was asked for, as one that the
// watcher ended, is the asker's to mind.
type Worker interface {
	Do(ctx context.Context, w Work, watch Watcher) (Outcome, error)
}
