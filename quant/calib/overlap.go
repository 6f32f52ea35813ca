package calib

import (
	"fmt"

	"nibble/model/demo"
	"nibble/model/text"
)

// seenBlock is the length of the pieces that texts are compared by, in bytes:
// longer than what two texts say alike by chance.
const seenBlock = 128

// seenShare is the share of a text from which on it is worth a note.
const seenShare = 0.01

// SeenNote says that a text to evaluate with is, or overlaps, the one that a model
// was calibrated with: a method fits its errors to that, and looks better on it
// than it is. It is "" where nothing of the kind is known: the calibration's text is
// compared if it is built in or still where it was, and by its hash otherwise.
func (c *Calibration) SeenNote(text []byte) string {
	if c.SHA256 == demo.SHA256(text) {
		return "the text is the calibration's as well: other text says what is really lost"
	}
	if share := seen(text, c.text()); share >= seenShare {
		return fmt.Sprintf("%.0f %% of the text is the calibration's, %s, as well: other text says what is really lost", 100*share, c.Name)
	}
	return ""
}

// text returns the text again, nil if it is gone, has changed or is very long.
func (c *Calibration) text() []byte {
	for _, t := range [][]byte{demo.CalibText(), GeneralText()} {
		if c.SHA256 == demo.SHA256(t) {
			return t
		}
	}
	// The name comes from a model's directory and may be of anything.
	if t, err := text.Read(c.Name, nil); err == nil && c.SHA256 == demo.SHA256(t) {
		return t
	}
	return nil
}

// seen returns the share of a text whose pieces stand in another, wherever. Of JSON
// lines it compares what they say.
func seen(text, in []byte) float64 {
	text, in = spoken(text), spoken(in)
	pieces := map[string]bool{}
	for at := 0; at+seenBlock <= len(text); at += seenBlock {
		pieces[string(text[at:at+seenBlock])] = false
	}
	for at := 0; at+seenBlock <= len(in) && len(pieces) > 0; at++ {
		if _, ok := pieces[string(in[at:at+seenBlock])]; ok {
			pieces[string(in[at:at+seenBlock])] = true
		}
	}
	found := 0
	for _, there := range pieces {
		if there {
			found++
		}
	}
	return float64(found) / float64(max(1, len(pieces)))
}

// spoken is the text of JSON lines, or the text.
func spoken(data []byte) []byte {
	if said, err := text.Parse(data, nil); err == nil {
		return []byte(said.Text)
	}
	return data
}
