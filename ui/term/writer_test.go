package term

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestWriter(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	if n, err := w.Write([]byte("a\x1b[2Jb\u009b1m\u202ec\td\n")); n != 17 || err != nil {
		t.Errorf("%d bytes written, %v", n, err)
	}
	w.ClearLine()
	if got, want := out.String(), "a[2Jb1mc\td\n\r\x1b[K"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := w.Err(); err != nil {
		t.Error(err)
	}
}

// full fails its second write alone.
type full struct{ writes int }

var errFull = errors.New("no space")

func (f *full) Write(p []byte) (int, error) {
	if f.writes++; f.writes == 2 {
		return 0, errFull
	}
	return len(p), nil
}

// What could not be written is not forgotten by what can be written later.
func TestWriterKeepsTheError(t *testing.T) {
	w := NewWriter(&full{})
	for i := range 3 {
		_, err := w.Write([]byte("x"))
		if failed := i > 0; failed != errors.Is(err, errFull) || failed != errors.Is(w.Err(), errFull) {
			t.Errorf("write %d: %v, kept: %v", i, err, w.Err())
		}
	}
}

// Escaped JSON means the same and holds nothing that a terminal obeys.
func TestEscapeJSON(t *testing.T) {
	for _, s := range []string{"plain 漢字 \"quoted\"", "C1 \u009b2J, DEL \x7f", "bidi \u202e\u2066\u2069\u200f", "tag \U000e0001", "lines \u2028\u2029\n\t\x1b[2J"} {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		text := EscapeJSON(string(data))
		var back string
		if err := json.Unmarshal([]byte(text), &back); err != nil || back != s {
			t.Errorf("%q became %s, which reads as %q (%v)", s, text, back, err)
		}
		if strings.IndexFunc(text, controls) >= 0 {
			t.Errorf("%q lets controls through: %q", s, text)
		}
	}
}
