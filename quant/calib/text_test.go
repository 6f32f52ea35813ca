package calib

import (
	"bytes"
	"compress/flate"
	"testing"
	"unicode/utf8"

	reader "nibble/model/text"
)

// The general text is plain, long and varied enough: what is repeated compresses
// to less than half of what prose does.
func TestGeneralText(t *testing.T) {
	text := GeneralText()
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
