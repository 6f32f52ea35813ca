package calib_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/demo"
	"nibble/model/tokenizer"
	"nibble/quant/calib"
	"nibble/quant/passtest"
	"nibble/quant/plan"
	"nibble/quant/quanttest"
)

// The general text is the one a model gets that is not the demo, and says so.
func TestDefaultText(t *testing.T) {
	ck := quanttest.Open(t, "demo")
	c, err := calib.New(ck, calib.Options{})
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
	other := quanttest.Open(t, dir)
	c, err = calib.New(other, calib.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.SHA256 != demo.SHA256(calib.GeneralText()) || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "--calib FILE") {
		t.Errorf("another model is calibrated with %s, notes %q", c.Name, c.Notes)
	}
	if c.Samples != calib.DefaultSamples {
		t.Errorf("the general text gives %d samples", c.Samples)
	}
	p, err := plan.For(other, passtest.Parse(t, "w4 g32 sym gptq"), plan.Options{Calibration: c})
	if err != nil || len(p.Substitutions) == 0 || !strings.Contains(strings.Join(p.Substitutions, "\n"), calib.GeneralNote) {
		t.Errorf("the plan says %q, %v", p.Substitutions, err)
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
		n := len(tok.Encode(string(calib.GeneralText()), tokenizer.EncodeOptions{}))
		t.Logf("%s: %d tokens", name, n)
		if n < calib.DefaultSamples*calib.DefaultLength {
			t.Errorf("%s: %d tokens are fewer than %d samples of %d", name, n, calib.DefaultSamples, calib.DefaultLength)
		}
	}
}
