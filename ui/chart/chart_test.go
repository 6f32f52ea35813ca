package chart

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/guptarohit/asciigraph"
)

func plain(int) asciigraph.AnsiColor { return asciigraph.Default }

func label(v float64) string { return fmt.Sprintf("%.2f", v) }

// Whatever the data, a plot has exactly its size and does not panic.
func TestExactSize(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	series := [][]float64{nil, {}, {1}, {nan}, {nan, nan, 2}, {1, 1, 1}, {inf, 1, -inf}, {1, nan, 3, 2}, {0, 5000, 1e-9}, {1e300, -1e300}}
	for w := range 60 {
		for _, h := range []int{0, 1, 3, 4, 5, 9, 20} {
			for _, s := range series {
				check(t, Curve("title", []Series{{Name: "predicted", Mark: "·", Values: s, Color: asciigraph.Red}, {Values: s}}, w, h, label), w, h)
				check(t, Curves("title", []string{"a"}, [][]float64{s}, plain, make([]string, len(s)), w, h, label), w, h)
				plot := Scatter{Title: "title", Level: nan, FormatX: label, FormatY: label}
				for i, v := range s {
					plot.Points = append(plot.Points, Point{X: float64(i), Y: v, Mark: '●'}, Point{X: v, Y: float64(i), Mark: '○'})
					plot.Line = append(plot.Line, [2]float64{float64(i), v})
				}
				check(t, plot.View(w, h), w, h)
				plot.Level = 1
				check(t, plot.View(w, h), w, h)
				plot.Points = nil
				check(t, plot.View(w, h), w, h)
			}
		}
	}
}

func check(t *testing.T, lines []string, w, h int) {
	t.Helper()
	if len(lines) != h {
		t.Fatalf("%d lines, want %d", len(lines), h)
	}
	for _, l := range lines {
		if got := ansi.StringWidth(l); got != w {
			t.Fatalf("a line of %d columns, want %d: %q", got, w, l)
		}
	}
}

// Points sit where their numbers say, over the level and the line.
func TestScatter(t *testing.T) {
	s := Scatter{Title: "t", Points: []Point{{X: 0, Y: 0, Mark: 'a'}, {X: 10, Y: 10, Mark: 'b'}, {X: 10, Y: 0, Mark: 'c'}, {X: 10, Y: 0, Mark: 'd'}},
		Line: [][2]float64{{0, 10}, {10, 0}}, Level: 5, FormatX: label, FormatY: label}
	got := s.View(labelWidth+axisWidth+9, 8)
	want := []string{
		"t",
		"  10.00 ┤⠁⠄      b",
		"        ┤  ⠡",
		"        ┤╌╌╌╌╌╌╌╌╌",
		"        ┤     ⠈⠠",
		"   0.00 ┤a      ⠁d",
		"        └─────────",
		"         0.00 10.00",
	}
	for i, l := range got {
		if l = strings.TrimRight(l, " "); l != want[i] {
			t.Errorf("line %d: %q, want %q", i, l, want[i])
		}
	}
}

// The goal stays in sight and a far prediction does not squeeze the points.
func TestScatterScale(t *testing.T) {
	s := Scatter{Points: []Point{{X: 1, Y: 1, Mark: 'a'}, {X: 2, Y: 2, Mark: 'b'}}, Line: [][2]float64{{0, 1e9}, {1, 1}, {3, 0.5}}, Level: 3, FormatX: label, FormatY: label}
	view := strings.Join(s.View(40, 12), "\n")
	for _, want := range []string{"3.00 ┤╌", "1.00 ┤a", "1.00                      2.00"} {
		if !strings.Contains(view, want) {
			t.Errorf("no %q in\n%s", want, view)
		}
	}
}

func TestASCII(t *testing.T) {
	for text, want := range map[string]string{
		"plain \x1b[1mbold\x1b[0m": "plain \x1b[1mbold\x1b[0m",
		"┤╭─╮ ✓ ✗ ●":               "|.-. + x *",
		"⠀⠉⣀⣿⠤":                    " '.:.",
		"漢é":                       "???",
	} {
		got := ASCII(text)
		if got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
		if ansi.StringWidth(got) != ansi.StringWidth(text) {
			t.Errorf("%q changed its width", text)
		}
	}
}

// Curves cross where their numbers do; a point between gaps is not lost.
func TestCurves(t *testing.T) {
	nan := math.NaN()
	got := Curves("t", []string{"a", "b"}, [][]float64{{0, 1, 2}, {2, nan, 0}}, plain, []string{"1", "2", "4"}, labelWidth+axisWidth+7, 6, label)
	want := []string{
		"t  ● a  ○ b",
		"   2.00 ┤○    ●●",
		"        ┤  ●●●",
		"   0.00 ┤●●    ○",
		"        └───────",
		"         1  2  4",
	}
	for i, l := range got {
		if l = strings.TrimRight(l, " "); l != want[i] {
			t.Errorf("line %d: %q, want %q", i, l, want[i])
		}
	}
}

// In colours a curve shows the same text, each series in its own.
func TestColoredCurves(t *testing.T) {
	series := [][]float64{{0, 1, 2}, {2, 1, 0}}
	draw := func(color func(int) asciigraph.AnsiColor) string {
		return strings.Join(Curves("t", []string{"a", "b"}, series, color, []string{"1", "2", "4"}, 40, 8, label), "\n")
	}
	colored := draw(func(i int) asciigraph.AnsiColor { return []asciigraph.AnsiColor{asciigraph.Red, asciigraph.Blue}[i] })
	if got, want := ansi.Strip(colored), draw(plain); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for _, c := range []asciigraph.AnsiColor{asciigraph.Red, asciigraph.Blue} {
		if !strings.Contains(colored, c.String()+"●") && !strings.Contains(colored, c.String()+"○") {
			t.Errorf("no series in %q", c.String())
		}
	}
}
