package widget

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"nibble/ui/theme"
)

// A frame has exactly its size, the title in its border and what is drawn inside.
func TestFrame(t *testing.T) {
	th, _ := theme.Named("mono")
	draw := func(w, h int) []string {
		return []string{" a title  ", strings.Repeat("x", w), "漢字漢字漢字漢字漢字漢字漢字漢字漢字"}
	}
	for w := range 40 {
		for h := range 8 {
			lines := Frame(th, true, w, h, draw)
			if len(lines) != h {
				t.Fatalf("%dx%d: %d lines", w, h, len(lines))
			}
			for _, l := range lines {
				if ansi.StringWidth(l) != w {
					t.Fatalf("%dx%d: %q", w, h, l)
				}
			}
		}
	}
	for focused, top := range map[bool]string{true: "╭▸a title ─────────╮", false: "╭ a title ─────────╮"} {
		lines := Frame(th, focused, 20, 4, draw)
		if lines[0] != top || lines[1] != "│xxxxxxxxxxxxxxxxxx│" || lines[3] != "╰──────────────────╯" {
			t.Errorf("%q", lines)
		}
	}
}

func TestBar(t *testing.T) {
	for share, want := range map[float64]string{0: "", 1: "██████████", 2: "██████████", 0.5: "█████", 0.0001: "▏", 0.55: "█████▌"} {
		if got := Bar(share, 10); got != want {
			t.Errorf("Bar(%g) = %q, want %q", share, got, want)
		}
	}
	if got := Gauge(0.62, 5); got != "▮▮▮▯▯" {
		t.Errorf("Gauge: %q", got)
	}
}
