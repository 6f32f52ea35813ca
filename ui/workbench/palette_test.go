package workbench

import (
	"errors"
	"slices"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
)

// The palette finds what any page does, turns to that page and does it; from a page that
// takes text, too.
func TestPalette(t *testing.T) {
	for _, c := range []struct {
		at    int
		keys  []string
		calls []string
		page  int
		shown string
	}{
		{onModel, []string{":", "m", "e", "a", "s", "u", "r", "e", "enter"}, []string{"measure"}, onKernels, ""},
		{onChat, []string{"ctrl+p", "g", "o", " ", "t", "o", " ", "t", "u", "enter"}, nil, onTune, ""},
		{onTune, []string{":", "p", "e", "r", "f", "enter", ":", "q", "u", "e", "s", "t", "i", "o", "n", "s"}, nil, onTune, "▸Evaluate › "},
		{onModel, []string{":", "#", "#"}, nil, onModel, "nothing has these letters"},
		{onModel, []string{":", "x", "esc"}, nil, onModel, "quantize"},
		{onModel, []string{":", "down", "up", "enter"}, []string{"plan q4"}, onModel, ""},
	} {
		a, f := testApp("loaded")
		a.at = c.at
		press(a, c.keys...)
		view := ansi.Strip(a.View())
		if !slices.Equal(f.calls, c.calls) || a.at != c.page || !strings.Contains(view, c.shown) {
			t.Errorf("%q: calls %q on page %d:\n%s", c.keys, f.calls, a.at, view)
		}
	}
	a, _ := testApp("loaded")
	press(a, ":")
	for _, key := range strings.Split("theme: mono", "") {
		press(a, key)
	}
	if press(a, "enter"); a.th.Name != "mono" {
		t.Errorf("the theme is %s", a.th.Name)
	}
}

// The palette, the log and a pane alone fill every screen, with foreign text in them.
func TestOverlays(t *testing.T) {
	for name := range screens {
		a, _ := testApp(name)
		a.s.fail(errors.New(hostile + "\n" + strings.Repeat("long ", 90)))
		for at := range a.pages {
			a.at = at
			for _, keys := range [][]string{{"ctrl+p"}, {"ctrl+p", "ctrl+l"}, {"ctrl+l", "+"}} {
				press(a, keys...)
				for _, size := range [][2]int{{40, 12}, {60, 15}, {80, 24}, {120, 40}, {300, 100}} {
					a.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
					checkScreen(t, name, a.View(), size[0], size[1])
				}
				a.palette.open, a.log, a.zoomed = false, false, false
			}
		}
	}
}

// The log has what was said, and what failed in full.
func TestLog(t *testing.T) {
	a, _ := testApp("loaded")
	a.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
	a.s.say("the first news")
	a.s.fail(errors.New("a failure\nwith its second line"))
	a.s.say("")
	if press(a, "~"); !strings.Contains(a.View(), "the first news") || !strings.Contains(a.View(), "✗ a failure with its second line") {
		t.Errorf("the log is not shown:\n%s", ansi.Strip(a.View()))
	}
	for i := range 2 * maxLog {
		a.s.say(strings.Repeat("x", i%7+1))
	}
	if len(a.s.log) != maxLog {
		t.Errorf("%d lines are kept", len(a.s.log))
	}
}

// A pane alone has the whole page.
func TestZoom(t *testing.T) {
	a, _ := testApp("tuned")
	a.at = onTune
	a.Update(tea.WindowSizeMsg{Width: 200, Height: 60})
	press(a, "+")
	view := ansi.Strip(a.View())
	if strings.Contains(view, "loss by size") || !strings.Contains(view, "▸Trials") || !strings.Contains(view, "▸  7 ✓ reached") {
		t.Errorf("the trials are not alone:\n%s", view)
	}
	if press(a, "+"); !strings.Contains(a.View(), "loss by size") {
		t.Error("all does not come back")
	}
}
