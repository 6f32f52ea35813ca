package eval

import (
	"testing"

	"nibble/model"
	"nibble/quant"
)

// The demo, and what is made of it, is measured on its stories; any other model on
// prose that is long enough, and that its default calibration has nothing of.
func TestDefaultText(t *testing.T) {
	if ck := namedDemo(t, "demo"); DefaultText(ck).SHA256 != DemoText().SHA256 {
		t.Errorf("the demo is measured on %s", DefaultText(ck).Name)
	}
	ck := namedDemo(t, "other")
	if got := DefaultText(ck); got.SHA256 != DemoText().SHA256 {
		t.Errorf("what was made of the demo is measured on %s", got.Name)
	}
	c, err := quant.NewCalibration(ck, quant.CalibrationOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ck.Tokenizer = nil
	got := DefaultText(ck)
	if got.Name != "built-in prose" || len(got.Data) < 60_000 {
		t.Errorf("another model is measured on %d bytes of %s", len(got.Data), got.Name)
	}
	if note := c.SeenNote(got.Data); note != "" || c.Name != "built-in general text" {
		t.Errorf("%s: %s", c.Name, note)
	}
}

// namedDemo is the demo under another name, as if it came from a directory.
func namedDemo(t *testing.T, name string) *model.Checkpoint {
	t.Helper()
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	ck.Ref, ck.Name = name, name
	return ck
}
