// Package widget is what the pages of the workbench are drawn with: framed panes and
// bars. A widget is plain text of an exact size; it knows no page and no model.
package widget

import (
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"nibble/ui/chart"
	"nibble/ui/theme"
)

// Frame draws content in a border of w columns and h lines. The first line that draw
// gives, for the room inside, becomes the title in the border. The pane with the focus
// has the accent colour and a mark before its title.
func Frame(th theme.Theme, focused bool, w, h int, draw func(w, h int) []string) []string {
	if w < 6 || h < 3 {
		return chart.Fit(draw(w, h), w, h)
	}
	content := chart.Fit(draw(w-2, h-1), w-2, h-1)
	b, style, mark := lipgloss.RoundedBorder(), th.Dim, " "
	if focused {
		style, mark = th.Accent, "▸"
	}
	title := ansi.Truncate(strings.TrimSpace(trimStyled(content[0])), w-5, "…")
	if title != "" {
		title = mark + title + " "
	}
	rule := strings.Repeat(b.Top, max(0, w-2-ansi.StringWidth(title)))
	lines := []string{style.Render(b.TopLeft) + title + style.Render(rule+b.TopRight)}
	left, right := style.Render(b.Left), style.Render(b.Right)
	for _, l := range content[1:] {
		lines = append(lines, left+l+right)
	}
	return append(lines, style.Render(b.BottomLeft+strings.Repeat(b.Bottom, w-2)+b.BottomRight))
}

// trimStyled drops the blanks at the end of a styled line.
func trimStyled(line string) string {
	plain := ansi.Strip(line)
	if n := ansi.StringWidth(plain) - ansi.StringWidth(strings.TrimRight(plain, " ")); n > 0 {
		return ansi.Truncate(line, ansi.StringWidth(plain)-n, "")
	}
	return line
}

// eighths are blocks of one to seven eighths of a cell.
var eighths = []rune("▏▎▍▌▋▊▉")

// Bar is a bar of a share, 0 to 1, of w columns, in eighths of them. What is not
// nothing shows.
func Bar(share float64, w int) string {
	if !(share > 0) || w < 1 {
		return ""
	}
	n := max(1, min(8*w, int(share*float64(8*w)+0.5)))
	bar := strings.Repeat("█", n/8)
	if n%8 > 0 {
		bar += string(eighths[n%8-1])
	}
	return bar
}

// Gauge is a bar whose whole length shows: ▮▮▮▯▯.
func Gauge(share float64, w int) string {
	n := 0
	if share > 0 {
		n = min(w, int(share*float64(w)+0.5))
	}
	return strings.Repeat("▮", n) + strings.Repeat("▯", max(0, w-n))
}
