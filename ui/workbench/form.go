package workbench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/bubbles/cursor"
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"

	"nibble/ui/chart"
	"nibble/ui/term"
	"nibble/ui/theme"
)

// field is a line of a form.
type field struct {
	label   string
	value   string
	empty   string   // what no value means
	help    string   // what can be given
	choices []string // that ← and → step through
	check   func(value string) error
}

// form is a column of fields, one of which takes what is typed.
type form struct {
	fields []*field
	at     int
	open   bool
	input  textinput.Model // of the field that is written
	edited *field          // which input holds
}

// bindings are the keys of an open form; changed hears when a field is left or a
// choice made.
func (f *form) bindings(changed func()) []binding {
	move := func(by int) func() tea.Cmd {
		return func() tea.Cmd {
			f.at = (f.at + by + len(f.fields)) % len(f.fields)
			changed()
			return nil
		}
	}
	step := func(by int) func() tea.Cmd {
		return func() tea.Cmd {
			if x := f.fields[f.at]; len(x.choices) > 0 {
				at := slices.Index(x.choices, x.value)
				if at < 0 && by < 0 {
					at = 0
				}
				x.value = x.choices[(at+by+len(x.choices))%len(x.choices)]
				changed()
			}
			return nil
		}
	}
	return []binding{
		{[]string{"esc"}, "esc", "back: leave the form; what is in it stays", true, func() tea.Cmd { f.open = false; return nil }},
		{[]string{"up", "shift+tab"}, "↑", "the field before", false, move(-1)},
		{[]string{"down", "tab"}, "↓ tab", "the next field", false, move(1)},
		{[]string{"left"}, "←", "the choice before, in fields that have some, or a character back", false, f.choosing(tea.KeyLeft, step(-1))},
		{[]string{"right"}, "→", "the next choice, or a character on", false, f.choosing(tea.KeyRight, step(1))},
	}
}

// choosing steps through the choices of a field, or moves the cursor in one without.
func (f *form) choosing(key tea.KeyType, step func() tea.Cmd) func() tea.Cmd {
	return func() tea.Cmd {
		if len(f.fields[f.at].choices) > 0 {
			return step()
		}
		f.key(tea.KeyMsg{Type: key})
		return nil
	}
}

// key edits the field: text, and the keys that readline has for words and lines.
func (f *form) key(msg tea.KeyMsg) {
	f.edit()
	if msg.Type == tea.KeyRunes {
		msg.Runes = []rune(term.CleanLine(string(msg.Runes)))
	}
	f.input, _ = f.input.Update(msg)
	f.fields[f.at].value = f.input.Value()
}

// edit puts the field that the cursor is on into the input.
func (f *form) edit() {
	if !f.input.Focused() {
		f.input = textinput.New()
		f.input.Prompt = ""
		f.input.Cursor.SetMode(cursor.CursorStatic)
		f.input.Cursor.Style = theme.Inverse
		f.input.Focus()
	}
	if x := f.fields[f.at]; f.input.Value() != x.value || f.edited != x {
		f.input.SetValue(x.value)
		f.input.CursorEnd()
		f.edited = x
	}
}

// err is the first mistake in the fields, which the cursor goes to.
func (f *form) err() error {
	for i, x := range f.fields {
		if x.check == nil || strings.TrimSpace(x.value) == "" {
			continue
		}
		if err := x.check(strings.TrimSpace(x.value)); err != nil {
			f.at = i
			return fmt.Errorf("%s: %w", x.label, err)
		}
	}
	return nil
}

// tell says what is wrong with the fields, if anything is.
func (f *form) tell(s *state) {
	s.say("")
	if err := f.err(); err != nil {
		s.fail(err)
	}
}

// formLabel is the room for the names of fields.
const formLabel = 13

// view draws a field a line, and of an open form what can be given in the field
// with the cursor.
func (f *form) view(th theme.Theme, w int) []string {
	var lines []string
	for i, x := range f.fields {
		value, mark := ending(term.CleanLine(x.value), w-formLabel-4), " " // what is typed stays in sight
		switch {
		case i == f.at && f.open:
			f.edit()
			f.input.Width = max(1, w-formLabel-6)
			mark, value = "▸", f.input.View()
			if x.value == "" {
				value = strings.TrimRight(value, " ") + " " + th.Dim.Render(x.empty)
			}
		case value == "":
			value = th.Dim.Render(x.empty)
		}
		lines = append(lines, fmt.Sprintf(" %s%s %s", mark, th.Dim.Render(fmt.Sprintf("%-*s", formLabel, x.label)), value))
	}
	if !f.open {
		return chart.Fit(lines, w, len(lines))
	}
	help := f.fields[f.at].help
	if len(f.fields[f.at].choices) > 0 {
		help += "; ← → choose"
	}
	return append(chart.Fit(lines, w, len(lines)), chart.Fit([]string{"   " + th.Dim.Render(help)}, w, 1)...)
}

// text is a field's value without the space around it.
func (f *field) text() string { return strings.TrimSpace(f.value) }

// number is a field's value, 0 without one.
func (f *field) number() int {
	n, _ := strconv.Atoi(f.text())
	return n
}

// path is a field's value as a file's name; a ~ before it is the home directory.
func (f *field) path() string {
	if rest, ok := strings.CutPrefix(f.text(), "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return f.text()
}

// atLeast checks that a value is a whole number that is not below the least.
func atLeast(least int) func(string) error {
	return func(value string) error {
		if n, err := strconv.Atoi(value); err != nil || n < least {
			return fmt.Errorf("%q is no whole number of at least %d", value, least)
		}
		return nil
	}
}
