package workbench

import "testing"

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		text, row string
		want      bool
	}{
		{"", "anything", true},
		{"pass", "3 passed tuned", true},
		{"PASS tuned", "3 passed Tuned", true},
		{"pass front", "3 passed tuned", false},
		{"!pass", "3 passed tuned", false},
		{"!pass", "3 missed tuned", true},
		{"tuned !", "3 missed tuned", true}, // a word still being written
	} {
		if got := (&filter{text: c.text}).passes(c.row); got != c.want {
			t.Errorf("%q on %q: %v", c.text, c.row, got)
		}
	}
}
