package calib

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/demo"
)

func TestSeenNote(t *testing.T) {
	stories, other := demo.CalibText(), demo.EvalText()
	file := filepath.Join(t.TempDir(), "calib.txt")
	if err := os.WriteFile(file, stories[:50000], 0o644); err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(map[string]string{"text": string(stories[1000:20000])})
	if err != nil {
		t.Fatal(err)
	}
	half := append(append([]byte{}, other[:20000]...), stories[5003:25003]...) // at another distance from the beginning
	for _, c := range []struct {
		what string
		cal  Calibration
		text []byte
		says string
	}{
		{"the same", Calibration{Name: "gone.txt", SHA256: demo.SHA256(stories[:50000])}, stories[:50000], "is the calibration's"},
		{"a part of a built-in one", Calibration{Name: "built-in stories", SHA256: demo.SHA256(stories)}, stories[3000:9000], "100 %"},
		{"a part of the general one", Calibration{Name: "built-in general text", SHA256: demo.SHA256(GeneralText())}, GeneralText()[100:9000], "100 %"},
		{"half", Calibration{Name: file, SHA256: demo.SHA256(stories[:50000])}, half, "50 %"},
		{"as JSON lines", Calibration{Name: file, SHA256: demo.SHA256(stories[:50000])}, append(line, '\n'), "100 %"},
		{"another", Calibration{Name: file, SHA256: demo.SHA256(stories[:50000])}, other, ""},
		{"another than the built-in one", Calibration{Name: "built-in stories", SHA256: demo.SHA256(stories)}, other, ""},
		{"half of one that changed", Calibration{Name: file, SHA256: demo.SHA256(stories)[:1] + strings.Repeat("0", 63)}, half, ""},
		{"what is no file", Calibration{Name: os.DevNull, SHA256: demo.SHA256(nil)}, half, ""},
		{"nothing", Calibration{Name: file, SHA256: demo.SHA256(stories[:50000])}, nil, ""},
	} {
		if got := c.cal.SeenNote(c.text); got != c.says && (c.says == "" || !strings.Contains(got, c.says)) {
			t.Errorf("%s: %q, want %q", c.what, got, c.says)
		}
	}
}
