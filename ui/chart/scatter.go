package chart

import (
	"fmt"
	"math"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
)

// Point is a mark in a scatter plot. Later points cover earlier ones.
type Point struct {
	X, Y  float64
	Mark  rune
	Style *lipgloss.Style // nil is plain
}

// Scatter is a plot of points over two axes.
type Scatter struct {
	Title            string
	Points           []Point
	Line             [][2]float64    // a faint line behind the points, in the order of x
	LineStyle        *lipgloss.Style // nil is plain
	Level            float64         // of a horizontal line; NaN draws none
	LevelStyle       *lipgloss.Style
	FormatX, FormatY func(float64) string
}

// View draws the plot in w columns and h lines, the title in the first. The axes
// span the points and the level; the line is cut off where it leaves them. What
// is not finite is left out.
func (s Scatter) View(w, h int) []string {
	plotW, plotH := w-labelWidth-axisWidth, h-3
	var xs, ys []float64
	for _, p := range s.Points {
		if finite(p.X) && finite(p.Y) {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	if finite(s.Level) {
		ys = append(ys, s.Level)
	}
	if len(xs) < 2 { // nothing to scale by but the line
		for _, p := range s.Line {
			if finite(p[0]) && finite(p[1]) {
				xs, ys = append(xs, p[0]), append(ys, p[1])
			}
		}
	}
	if len(xs) == 0 || plotW < 8 || plotH < 3 {
		return Fit([]string{s.Title, "", "  nothing measured yet"}, w, h)
	}
	x0, x1 := bounds(xs)
	y0, y1 := bounds(ys)
	// A share of the way in a few steps; halves keep differences of huge numbers finite.
	share := func(v, lo, hi float64) float64 { return (v/2 - lo/2) / (hi/2 - lo/2) }
	at := func(v float64, n int) int { return int(math.Round(max(-1, min(2, v)) * float64(n-1))) }
	c := newCanvas(plotW, plotH)
	for i := 1; i < len(s.Line); i++ {
		a, b := s.Line[i-1], s.Line[i]
		if finite(a[0]) && finite(a[1]) && finite(b[0]) && finite(b[1]) {
			c.line(at(share(a[0], x0, x1), plotW*dotsX), at(1-share(a[1], y0, y1), plotH*dotsY),
				at(share(b[0], x0, x1), plotW*dotsX), at(1-share(b[1], y0, y1), plotH*dotsY), 2, s.LineStyle)
		}
	}
	if finite(s.Level) {
		y := at(1-share(s.Level, y0, y1), plotH)
		for x := range plotW {
			c.mark(x, y, '╌', s.LevelStyle)
		}
	}
	for _, p := range s.Points {
		if finite(p.X) && finite(p.Y) {
			c.mark(at(share(p.X, x0, x1), plotW), at(1-share(p.Y, y0, y1), plotH), p.Mark, p.Style)
		}
	}
	lines := []string{s.Title}
	for y := range plotH {
		label := ""
		switch y {
		case 0:
			label = s.FormatY(y1)
		case plotH - 1:
			label = s.FormatY(y0)
		}
		lines = append(lines, fmt.Sprintf("%*s ┤%s", labelWidth-1, label, c.row(y)))
	}
	lines = append(lines, strings.Repeat(" ", labelWidth)+"└"+strings.Repeat("─", plotW))
	left, right := s.FormatX(x0), s.FormatX(x1)
	gap := plotW - ansi.StringWidth(left) - ansi.StringWidth(right)
	lines = append(lines, strings.Repeat(" ", labelWidth+1)+left+strings.Repeat(" ", max(1, gap))+right)
	return Fit(lines, w, h)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
