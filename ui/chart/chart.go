// Package chart draws curves and scatter plots as text of an exact size.
package chart

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/guptarohit/asciigraph"

	"nibble/ui/term"
)

// labelWidth is the room for the numbers of the vertical axis, so that plots do
// not move sideways when the numbers change.
const labelWidth = 8

// axisWidth is what asciigraph puts between label and plot.
const axisWidth = 2

// Series is a line of a plot.
type Series struct {
	Name   string
	Mark   string // what the line is drawn with, "" for joined strokes
	Values []float64
	Color  asciigraph.AnsiColor // asciigraph.Default is the terminal's own
}

// Curve draws series over their index in w columns and h lines; the last one
// covers the others. Values that are not finite count as unchanged. format
// writes the labels of the vertical axis; title takes the first line, with the
// names of the series that are drawn with marks.
func Curve(title string, series []Series, w, h int, format func(float64) string) []string {
	plot := w - labelWidth - axisWidth
	var data [][]float64
	var sets []asciigraph.CharSet
	var colors []asciigraph.AnsiColor
	var all []float64
	for _, s := range series {
		values := slices.Clone(s.Values)
		for i, v := range values {
			if math.Abs(v) > 1e100 { // asciigraph's arithmetic must stay finite
				values[i] = math.NaN()
			}
		}
		if values = fill(values); len(values) == 0 || math.IsNaN(values[0]) {
			continue
		}
		if len(values) == 1 {
			values = append(values, values[0]) // a line needs two points
		}
		set := asciigraph.DefaultCharSet
		if s.Mark != "" {
			set, title = asciigraph.CreateCharSet(s.Mark), title+"  "+colored(s.Color, s.Mark)+" "+s.Name
		}
		data, sets, all, colors = append(data, values), append(sets, set), append(all, values...), append(colors, s.Color)
	}
	if len(data) == 0 || plot < 4 || h < 4 {
		return Fit([]string{title, "", "  nothing measured yet"}, w, h)
	}
	lo, hi := bounds(all)
	// asciigraph adds a line to the height it is given; width interpolates.
	text := asciigraph.PlotMany(data, asciigraph.Width(plot), asciigraph.Height(h-2), asciigraph.LowerBound(lo), asciigraph.UpperBound(hi),
		asciigraph.SeriesChars(sets...), asciigraph.SeriesColors(colors...),
		asciigraph.YAxisValueFormatter(func(v float64) string { return fmt.Sprintf("%*s", labelWidth-1, format(v)) }))
	return Fit(append([]string{title}, strings.Split(text, "\n")...), w, h)
}

// Curves draws several series over a common index, labelled along the bottom by
// ticks, in w columns and h lines; names tell which mark is which. Values that
// are not finite leave gaps.
func Curves(title string, names []string, series [][]float64, color func(i int) asciigraph.AnsiColor, ticks []string, w, h int, format func(float64) string) []string {
	plotW, plotH := w-labelWidth-axisWidth, h-3
	var all []float64
	for _, s := range series {
		for _, v := range s {
			if finite(v) {
				all = append(all, v)
			}
		}
	}
	if len(all) == 0 || len(ticks) < 2 || plotW < 2*len(ticks) || plotH < 3 {
		return Fit([]string{title, "", "  nothing measured yet"}, w, h)
	}
	lo, hi := bounds(append(all, 0))
	grid, colors := make([][]rune, plotH), make([][]asciigraph.AnsiColor, plotH)
	for i := range grid {
		grid[i], colors[i] = []rune(strings.Repeat(" ", plotW)), make([]asciigraph.AnsiColor, plotW)
	}
	column := func(i float64) int { return int(math.Round(i / float64(len(ticks)-1) * float64(plotW-1))) }
	row := func(v float64) int { return int(math.Round((hi - v) / (hi - lo) * float64(plotH-1))) }
	legend := ""
	for i, s := range slices.Backward(series) { // the first series covers the others
		mark, paint := curveMarks[i%len(curveMarks)], color(i)
		legend = fmt.Sprintf("  %s %s", colored(paint, string(mark)), names[i]) + legend
		put := func(y, x int) { grid[y][x], colors[y][x] = mark, paint }
		for j, v := range s {
			if finite(v) {
				put(row(v), column(float64(j))) // also of a point that stands alone
			}
		}
		for j := range len(s) - 1 {
			a, b := s[j], s[j+1]
			if !finite(a) || !finite(b) {
				continue
			}
			from, to := column(float64(j)), column(float64(j+1))
			for x := from; x <= to; x++ {
				share := float64(x-from) / float64(to-from)
				put(row(a+(b-a)*share), x)
			}
		}
	}
	lines := []string{title + legend}
	for i, cells := range grid {
		label := ""
		switch i {
		case 0:
			label = format(hi)
		case plotH - 1:
			label = format(lo)
		}
		lines = append(lines, fmt.Sprintf("%*s ┤%s", labelWidth-1, label, painted(cells, colors[i])))
	}
	axis := []rune(strings.Repeat(" ", plotW))
	for i, t := range ticks {
		at := max(0, min(column(float64(i)), plotW-len([]rune(t))))
		if i > 0 && at > 0 && axis[at-1] != ' ' {
			continue // no room
		}
		copy(axis[at:], []rune(t))
	}
	lines = append(lines, strings.Repeat(" ", labelWidth)+"└"+strings.Repeat("─", plotW), strings.Repeat(" ", labelWidth+1)+string(axis))
	return Fit(lines, w, h)
}

// colored is text in a colour.
func colored(c asciigraph.AnsiColor, text string) string {
	if c == asciigraph.Default {
		return text
	}
	return c.String() + text + asciigraph.Default.String()
}

// painted joins cells, each run of a colour in it.
func painted(cells []rune, colors []asciigraph.AnsiColor) string {
	var b strings.Builder
	for i := 0; i < len(cells); {
		j := i + 1
		for j < len(cells) && colors[j] == colors[i] {
			j++
		}
		b.WriteString(colored(colors[i], string(cells[i:j])))
		i = j
	}
	return b.String()
}

// curveMarks tell series apart without colour.
var curveMarks = []rune("●○+x*#=")

// fill carries the last finite value over gaps: a gap between trials means
// "unchanged", and the library would interpolate through it otherwise.
func fill(v []float64) []float64 {
	last := math.NaN()
	for _, x := range v {
		if finite(x) {
			last = x
			break
		}
	}
	for i, x := range v {
		if !finite(x) {
			v[i] = last
		} else {
			last = x
		}
	}
	return v
}

// bounds returns the range of values with a margin where it is empty.
func bounds(v []float64) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, x := range v {
		lo, hi = min(lo, x), max(hi, x)
	}
	if hi-lo < 1e-12*max(1, math.Abs(hi)) {
		margin := max(math.Abs(hi)*0.01, 1e-9)
		lo, hi = lo-margin, hi+margin
	}
	return lo, hi
}

// Fit crops and pads lines to exactly h lines of exactly w columns. Styled text
// is measured by what it shows; whatever else would control a terminal is dropped.
func Fit(lines []string, w, h int) []string {
	out := make([]string, max(0, h))
	for i := range out {
		line := ""
		if i < len(lines) {
			line = ansi.Truncate(term.CleanStyled(lines[i]), max(0, w), "…")
		}
		out[i] = line + strings.Repeat(" ", max(0, w-ansi.StringWidth(line)))
	}
	return out
}

// Beside joins blocks of the same height line by line.
func Beside(blocks ...[]string) []string {
	out := make([]string, len(blocks[0]))
	for i := range out {
		for _, b := range blocks {
			out[i] += b[i]
		}
	}
	return out
}
