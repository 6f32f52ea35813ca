package workbench

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"nibble/ui/term"
)

// filter is a line of words that rows must have.
type filter struct {
	text string
	open bool // being written
}

func (f *filter) bindings() []binding {
	return []binding{
		{[]string{"enter"}, "enter", "keep the filter", true, func() tea.Cmd { f.open = false; return nil }},
		{[]string{"esc"}, "esc", "drop the filter", true, func() tea.Cmd { f.open, f.text = false, ""; return nil }},
		{[]string{"backspace"}, "backspace", "delete a character", false, func() tea.Cmd {
			if r := []rune(f.text); len(r) > 0 {
				f.text = string(r[:len(r)-1])
			}
			return nil
		}},
	}
}

// key takes text in while the filter is being written.
func (f *filter) key(msg tea.KeyMsg) {
	if f.open && (msg.Type == tea.KeyRunes || msg.Type == tea.KeySpace) {
		f.text += term.CleanLine(string(msg.Runes))
	}
}

// shown is the text with a cursor while it is being written.
func (f *filter) shown() string {
	if f.open {
		return f.text + "▌"
	}
	return f.text
}

// passes reports whether a row has every word, and none of those with a ! before
// them. Case does not matter.
func (f *filter) passes(row string) bool {
	row = strings.ToLower(row)
	for word := range strings.FieldsSeq(strings.ToLower(f.text)) {
		bare, not := strings.CutPrefix(word, "!")
		if bare != "" && strings.Contains(row, bare) == not {
			return false
		}
	}
	return true
}
