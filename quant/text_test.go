package quant

import (
	"bytes"
	"compress/flate"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"nibble/model/demo"
	reader "nibble/model/text"
	"nibble/model/tokenizer"
)

// The general text is the one a model gets that is not the demo, and says so.
func TestDefaultText(t *testing.T) {
	ck := open(t, "demo")
	c, err := NewCalibration(ck, CalibrationOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c.SHA256 != demo.SHA256(demo.CalibText()) || len(c.Notes) > 0 {
		t.Errorf("the demo is calibrated with %s, notes %q", c.Name, c.Notes)
	}
	dir := t.TempDir()
	files, err := demo.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := demo.Files.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	other := open(t, dir)
	c, err = NewCalibration(other, CalibrationOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c.SHA256 != demo.SHA256(generalText()) || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "--calib FILE") {
		t.Errorf("another model is calibrated with %s, notes %q", c.Name, c.Notes)
	}
	if c.Samples != DefaultSamples {
		t.Errorf("the general text gives %d samples", c.Samples)
	}
	p, err := PlanFor(other, parse(t, "w4 g32 sym gptq"), PlanOptions{Calibration: c})
	if err != nil || len(p.Substitutions) == 0 || !strings.Contains(strings.Join(p.Substitutions, "\n"), generalNote) {
		t.Errorf("the plan says %q, %v", p.Substitutions, err)
	}
}

// The general text is plain, long and varied enough: what is repeated compresses
// to less than half of what prose does.
func TestGeneralText(t *testing.T) {
	text := generalText()
	if !utf8.Valid(text) || bytes.ContainsAny(text, "\x00\r\x1b") {
		t.Error("it is not plain text")
	}
	var small bytes.Buffer
	w, err := flate.NewWriter(&small, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if share := float64(small.Len()) / float64(len(text)); len(text) < 70000 || share < 0.4 {
		t.Errorf("%d bytes compress to %.2f", len(text), share)
	}
	if said, err := reader.Parse(text, nil); err != nil || said.Text != string(text) {
		t.Errorf("it is read as something else, %v", err)
	}
}

// The general text gives the samples that are drawn by default, also where tokens
// are long words.
func TestGeneralTextSuffices(t *testing.T) {
	for _, name := range []string{"llama-bpe", "qwen2", "phi-3"} {
		dir := filepath.Join("../../shared/data/tok", name)
		file, err := os.ReadFile(filepath.Join(dir, "tokenizer.json"))
		if err != nil {
			t.Skip("needs tokenizers that are not part of the project")
		}
		config, err := os.ReadFile(filepath.Join(dir, "tokenizer_config.json"))
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.Load(file, config)
		if err != nil {
			t.Fatal(err)
		}
		n := len(tok.Encode(string(generalText()), tokenizer.EncodeOptions{}))
		t.Logf("%s: %d tokens", name, n)
		if n < DefaultSamples*defaultLength {
			t.Errorf("%s: %d tokens are fewer than %d samples of %d", name, n, DefaultSamples, defaultLength)
		}
	}
}
