package quant

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"nibble/model"
	"nibble/model/demo"
	"nibble/model/tokenizer"
)

// ErrCalibration reports a text that cannot calibrate a model.
var ErrCalibration = errors.New("cannot calibrate")

// Calibration is the text that methods measure a model's activations with.
type Calibration struct {
	Name   string `json:"name"`   // of the text
	SHA256 string `json:"sha256"` // of the text
	Seed   uint64 `json:"seed"`
	Length int    `json:"length"` // tokens of a sample
	Note   string `json:"note,omitempty"`

	Samples int       `json:"samples"`
	Tokens  [][]int32 `json:"-"`
}

// CalibrationOptions configures NewCalibration.
type CalibrationOptions struct {
	Name    string
	Text    []byte // plain, or JSON lines with "text" or "messages"; nil is a built-in text
	Samples int    // 32 if 0
	Length  int    // tokens of a sample; 512, or the model's context if that is less, if 0
	Seed    uint64
}

const (
	defaultSamples = 32
	defaultLength  = 512
)

// NewCalibration draws samples from a text: stretches of equal length that do
// not overlap, chosen by the seed.
func NewCalibration(ck *model.Checkpoint, o CalibrationOptions) (*Calibration, error) {
	if ck.Tokenizer == nil {
		return nil, fmt.Errorf("%s: %w: there is no tokenizer", ck.Ref, ErrCalibration)
	}
	if o.Samples < 0 || o.Length < 0 {
		return nil, fmt.Errorf("%w: %d samples of %d tokens", ErrCalibration, o.Samples, o.Length)
	}
	c := &Calibration{Name: o.Name, Seed: o.Seed, Samples: o.Samples, Length: o.Length}
	if o.Text == nil {
		c.Name, o.Text = "built-in stories", demo.CalibText()
		if ck.Ref != "demo" {
			c.Note = "calibrated with the built-in stories; text like your own use (--calib FILE) is better"
		}
	}
	if c.Samples == 0 {
		c.Samples = defaultSamples
	}
	if c.Length == 0 {
		c.Length = defaultLength
	}
	c.Length = min(c.Length, ck.ContextLen())
	sum := sha256.Sum256(o.Text)
	c.SHA256 = hex.EncodeToString(sum[:])
	text, err := calibrationText(o.Text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	ids := ck.Tokenizer.Encode(text, tokenizer.EncodeOptions{})
	prefix := ck.Tokenizer.Encode("", tokenizer.EncodeOptions{AddSpecial: true})
	prefix = prefix[:min(len(prefix), 1)]
	body := c.Length - len(prefix)
	if body < 1 || len(ids) < body {
		return nil, fmt.Errorf("%s: %w: %d tokens are less than a sample of %d", c.Name, ErrCalibration, len(ids), body)
	}
	places := rand.New(rand.NewPCG(c.Seed, 0)).Perm(len(ids) / body)
	c.Samples = min(c.Samples, len(places))
	for _, p := range places[:c.Samples] {
		c.Tokens = append(c.Tokens, append(append([]int32{}, prefix...), ids[p*body:(p+1)*body]...))
	}
	return c, nil
}

// calibrationText joins the texts of JSON lines; anything else is the text.
func calibrationText(data []byte) (string, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return string(data), nil
	}
	var parts []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 16<<20)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var line struct {
			Text     *string
			Messages []struct{ Role, Content string }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return "", fmt.Errorf("%w: line %d is not JSON: %v", ErrCalibration, n, err)
		}
		if line.Text == nil && line.Messages == nil {
			return "", fmt.Errorf("%w: line %d has neither \"text\" nor \"messages\"", ErrCalibration, n)
		}
		if line.Text != nil {
			parts = append(parts, *line.Text)
		}
		for _, m := range line.Messages {
			parts = append(parts, m.Content)
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("%w: %v", ErrCalibration, err)
	}
	return strings.Join(parts, "\n"), nil
}
