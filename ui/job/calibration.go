package job

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"nibble/model"
	"nibble/model/text"
	"nibble/quant"
)

// Calibration is what methods are asked to learn from.
type Calibration struct {
	Path    string `json:"path,omitempty"` // file; "" is what is built in
	Samples int    `json:"samples"`        // 0 is the usual number
	Length  int    `json:"length"`         // 0 is the usual one
	Seed    uint64 `json:"seed"`
}

// Read draws the samples, so many unless told otherwise. stdin, where text.Stdin is
// read from, may be nil.
func (c Calibration) Read(ck *model.Checkpoint, samples int, stdin io.Reader) (*quant.Calibration, error) {
	o := quant.CalibrationOptions{Samples: cmp.Or(c.Samples, samples), Length: c.Length, Seed: c.Seed}
	if c.Path != "" {
		data, err := text.Read(c.Path, stdin)
		if err != nil {
			return nil, fmt.Errorf("calibration text: %w", err)
		}
		o.Name, o.Text = c.Path, data
	}
	return quant.NewCalibration(ck, o)
}

// ErrUnused refuses a calibration text that no method would read.
var ErrUnused = errors.New("has no use: no matrix of this recipe is quantized by a method that calibrates")

// For is the calibration of a recipe, nil if none of its methods calibrates.
func (c Calibration) For(ck *model.Checkpoint, r quant.Recipe, stdin io.Reader) (*quant.Calibration, error) {
	switch {
	case quant.Calibrated(r, ck.Config):
		return c.Read(ck, quant.Samples(r, ck.Config), stdin)
	case c.Path != "":
		return nil, fmt.Errorf("the calibration text %w", ErrUnused)
	}
	return nil, nil
}
