package calib

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"nibble/model"
	"nibble/model/demo"
	"nibble/model/text"
	"nibble/model/tokenizer"
)

// ErrCalibration reports a text that cannot calibrate a model.
var ErrCalibration = errors.New("cannot calibrate")

// Calibration is the text that methods measure a model's activations with.
type Calibration struct {
	Name   string   `json:"name"`   // of the text
	SHA256 string   `json:"sha256"` // of the text
	Seed   uint64   `json:"seed"`
	Length int      `json:"length"`          // tokens of a sample
	Notes  []string `json:"notes,omitempty"` // what one should know of it

	Samples int       `json:"samples"`
	Tokens  [][]int32 `json:"-"`
}

// Options configures NewCalibration.
type Options struct {
	Name    string
	Text    []byte // as text.Parse reads it; nil is a built-in text
	Samples int    // 32 if 0. Fewer if the text gives no more, which a note tells
	Length  int    // tokens of a sample, 2 at least; 512 if 0; the model's context if that is less
	Seed    uint64
}

const (
	DefaultSamples = 32
	DefaultLength  = 512
)

// New draws samples from a text: stretches of equal length that do
// not overlap, chosen by the seed.
func New(ck *model.Checkpoint, o Options) (*Calibration, error) {
	if ck.Tokenizer == nil {
		return nil, fmt.Errorf("%s: %w: there is no tokenizer", ck.Ref, ErrCalibration)
	}
	if o.Samples < 0 || o.Length < 0 || o.Length == 1 {
		return nil, fmt.Errorf("%w: %d samples of %d tokens: there must be one of two tokens at least", ErrCalibration, o.Samples, o.Length)
	}
	c := &Calibration{Name: o.Name, Seed: o.Seed, Samples: o.Samples, Length: o.Length}
	if o.Text == nil {
		var note string
		if c.Name, o.Text, note = defaultText(ck); note != "" {
			c.Notes = append(c.Notes, note)
		}
	}
	if c.Samples == 0 {
		c.Samples = DefaultSamples
	}
	if c.Length == 0 {
		c.Length = DefaultLength
	}
	c.Length = min(c.Length, ck.ContextLen())
	c.SHA256 = demo.SHA256(o.Text)
	said, err := text.Parse(o.Text, ck.Template)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", c.Name, ErrCalibration, err)
	}
	c.Notes = append(c.Notes, said.Notes...)
	ids := ck.Tokenizer.Encode(said.Text, tokenizer.EncodeOptions{ParseSpecial: said.Chats}) // a template writes special tokens
	prefix := ck.Tokenizer.Prefix()
	prefix = prefix[:min(len(prefix), 1)]
	if err := errors.Join(ck.Config.CheckTokens(prefix), ck.Config.CheckTokens(ids)); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", ck.Ref, ErrCalibration, err)
	}
	body := c.Length - len(prefix)
	if body < 1 || len(ids) < body {
		return nil, fmt.Errorf("%s: %w: %d tokens are less than a sample of %d: give more text or a shorter --length", c.Name, ErrCalibration, len(ids), body)
	}
	places := rand.New(rand.NewPCG(c.Seed, 0)).Perm(len(ids) / body)
	if c.Samples > len(places) {
		c.Notes = append(c.Notes, fmt.Sprintf("%s gives %d samples of %d tokens, not %d", c.Name, len(places), c.Length, c.Samples))
		c.Samples = len(places)
	}
	for _, p := range places[:c.Samples] {
		c.Tokens = append(c.Tokens, append(append([]int32{}, prefix...), ids[p*body:(p+1)*body]...))
	}
	return c, nil
}
