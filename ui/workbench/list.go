package workbench

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"nibble/ui/chart"
	"nibble/ui/theme"
)

// list is a table with a cursor that scrolls.
type list struct {
	at, top, n, h int
}

func (l *list) bindings() []binding {
	move := func(by func() int) func() tea.Cmd {
		return func() tea.Cmd {
			l.at = max(0, min(l.n-1, l.at+by()))
			return nil
		}
	}
	return []binding{
		{[]string{"up", "k"}, "↑ k", "up", false, move(func() int { return -1 })},
		{[]string{"down", "j"}, "↓ j", "down", false, move(func() int { return 1 })},
		{[]string{"pgup"}, "pgup", "a page up", false, move(func() int { return -max(1, l.h-1) })},
		{[]string{"pgdown"}, "pgdn", "a page down", false, move(func() int { return max(1, l.h-1) })},
		{[]string{"home", "g"}, "home g", "first", false, move(func() int { return -l.n })},
		{[]string{"end", "G"}, "end G", "last", false, move(func() int { return l.n })},
	}
}

// view draws the header and the rows around the cursor. Rows begin with a space,
// the place of the mark.
func (l *list) view(th theme.Theme, head string, rows []string, w, h int) []string {
	l.n, l.h = len(rows), max(1, h-1)
	l.at = max(0, min(l.at, l.n-1))
	l.top = max(0, min(l.top, l.n-l.h))
	if l.at < l.top {
		l.top = l.at
	}
	if l.at >= l.top+l.h {
		l.top = l.at - l.h + 1
	}
	lines := []string{th.Dim.Render(chart.Fit([]string{head}, w, 1)[0])}
	for i := l.top; i < min(l.n, l.top+l.h); i++ {
		row := chart.Fit([]string{rows[i]}, w, 1)[0]
		if i == l.at {
			row = th.Selected.Render("▸" + strings.TrimPrefix(row, " ")) // the mark shows without colours, too
		}
		lines = append(lines, row)
	}
	return chart.Fit(lines, w, h)
}
