package workbench

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/bubbles/cursor"
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/sahilm/fuzzy"

	"nibble/ui/chart"
	"nibble/ui/term"
	"nibble/ui/theme"
	"nibble/ui/widget"
)

// palette finds what the keys of all pages do by some of its letters, and does it.
type palette struct {
	a     *app
	open  bool
	input textinput.Model
	at    int
}

// action is a line of the palette.
type action struct {
	name, key string
	do        func() tea.Cmd
}

func newPalette(a *app) palette {
	in := textinput.New()
	in.Prompt, in.Placeholder = "", "what to do"
	in.Cursor.SetMode(cursor.CursorStatic)
	in.Cursor.Style, in.PlaceholderStyle = theme.Inverse, a.th.Dim
	in.Focus()
	return palette{a: a, input: in}
}

func (p *palette) show() {
	p.open, p.at = true, 0
	p.input.SetValue("")
}

// actions are what every key does but those that only move about: the current page's
// first. What belongs to another page turns to it.
func (p *palette) actions() []action {
	a := p.a
	var out []action
	add := func(prefix string, at int, bs []binding) {
		for _, b := range bs {
			name, about, ok := strings.Cut(b.help, ": ")
			if !ok && !b.footer {
				continue // cursor keys and the like
			}
			text := prefix + name
			if ok {
				text += ": " + about
			}
			out = append(out, action{text, b.label, func() tea.Cmd { a.at = at; return b.do() }})
		}
	}
	add(a.pages[a.at].name()+" › ", a.at, a.pages[a.at].bindings())
	for i, page := range a.pages {
		out = append(out, action{"go to " + page.name(), fmt.Sprint(i + 1), func() tea.Cmd { a.at = i; return nil }})
	}
	for i, page := range a.pages {
		if i != a.at {
			add(page.name()+" › ", i, page.bindings())
		}
	}
	add("", a.at, a.global())
	for _, name := range theme.Names() {
		out = append(out, action{"theme: " + name, "", func() tea.Cmd { a.th, _ = theme.Named(name); return nil }})
	}
	return out
}

// found are the actions that what is written finds, the best first.
func (p *palette) found() []action {
	all := p.actions()
	text := strings.TrimSpace(p.input.Value())
	if text == "" {
		return all
	}
	names := make([]string, len(all))
	for i, x := range all {
		names[i] = x.name
	}
	var out []action
	for _, m := range fuzzy.Find(text, names) {
		out = append(out, all[m.Index])
	}
	return out
}

func (p *palette) key(msg tea.KeyMsg) tea.Cmd {
	switch found := p.found(); msg.String() {
	case "esc", "ctrl+p":
		p.open = false
	case "up":
		p.at = max(0, p.at-1)
	case "down":
		p.at = min(max(0, len(found)-1), p.at+1)
	case "enter":
		if p.open = false; p.at < len(found) {
			return found[p.at].do()
		}
	default:
		if msg.Type == tea.KeyRunes {
			msg.Runes = []rune(term.CleanLine(string(msg.Runes)))
		}
		p.input, _ = p.input.Update(msg)
		p.at = 0
	}
	return nil
}

func (p *palette) view(w, h int) []string {
	th := p.a.th
	width := min(w, 100)
	lines := widget.Frame(th, true, width, h, func(w, h int) []string {
		p.input.Width = max(1, w-6)
		lines := []string{th.Title.Render("Everything that can be done") + th.Dim.Render(" · ↑ ↓ enter, esc closes"), " › " + p.input.View()}
		found, room := p.found(), max(1, h-2)
		top := max(0, min(p.at-room/2, len(found)-room))
		for i, x := range found[top:min(len(found), top+room)] {
			name := " " + ansi.Truncate(x.name, max(0, w-14), "…")
			line := chart.Fit([]string{name}, max(0, w-12), 1)[0] + th.Dim.Render(x.key)
			if top+i == p.at {
				line = th.Selected.Render("▸" + strings.TrimPrefix(ansi.Strip(chart.Fit([]string{line}, w, 1)[0]), " "))
			}
			lines = append(lines, line)
		}
		if len(found) == 0 {
			lines = append(lines, th.Dim.Render(" nothing has these letters"))
		}
		return lines
	})
	return chart.Fit(lines, w, h)
}
