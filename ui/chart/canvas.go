package chart

import (
	"math"
	"strings"

	"github.com/charmbracelet/lipgloss"
)

// Dots of a braille character, 2 wide and 4 high.
const (
	dotsX = 2
	dotsY = 4
)

// brailleBits are the bits of U+2800's block by row and column of the dot.
var brailleBits = [dotsY][dotsX]uint8{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

// canvas is a grid of character cells to draw on: lines in the dots of braille
// characters, marks over them. What is drawn later has the cell's style.
type canvas struct {
	w, h  int // cells
	cells []cell
}

type cell struct {
	dots  uint8
	mark  rune // covers the dots; 0 is none
	style *lipgloss.Style
}

func newCanvas(w, h int) *canvas { return &canvas{w, h, make([]cell, w*h)} }

// dot sets one dot; those outside are dropped.
func (c *canvas) dot(x, y int, style *lipgloss.Style) {
	if x < 0 || y < 0 || x >= c.w*dotsX || y >= c.h*dotsY {
		return
	}
	at := &c.cells[y/dotsY*c.w+x/dotsX]
	at.dots |= brailleBits[y%dotsY][x%dotsX]
	at.style = style
}

// line joins two dots; every step-th dot of it is drawn.
func (c *canvas) line(x0, y0, x1, y1, step int, style *lipgloss.Style) {
	n := max(abs(x1-x0), abs(y1-y0), 1)
	for i := 0; i <= n; i += step {
		share := float64(i) / float64(n)
		c.dot(x0+int(math.Round(share*float64(x1-x0))), y0+int(math.Round(share*float64(y1-y0))), style)
	}
}

func abs(v int) int { return max(v, -v) }

// mark puts a character into a cell.
func (c *canvas) mark(x, y int, r rune, style *lipgloss.Style) {
	if x >= 0 && y >= 0 && x < c.w && y < c.h {
		at := &c.cells[y*c.w+x]
		at.mark, at.style = r, style
	}
}

// row renders one line of cells.
func (c *canvas) row(y int) string {
	var out, run strings.Builder
	var style *lipgloss.Style
	flush := func() {
		if style != nil && run.Len() > 0 {
			out.WriteString(style.Render(run.String()))
		} else {
			out.WriteString(run.String())
		}
		run.Reset()
	}
	for _, x := range c.cells[y*c.w : (y+1)*c.w] {
		if x.style != style {
			flush()
			style = x.style
		}
		switch {
		case x.mark != 0:
			run.WriteRune(x.mark)
		case x.dots != 0:
			run.WriteRune(0x2800 + rune(x.dots))
		default:
			run.WriteByte(' ')
		}
	}
	flush()
	return out.String()
}
