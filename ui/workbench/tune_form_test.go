package workbench

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nibble/tune"
)

// fill types values into the fields of a form, by label.
func fill(t *testing.T, f *form, values map[string]string) {
	t.Helper()
	for label, value := range values {
		f.at = slices.IndexFunc(f.fields, func(x *field) bool { return x.label == label })
		if f.at < 0 {
			t.Fatalf("there is no field %q", label)
		}
		f.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(value)})
	}
}

// What is typed reaches the search as the quantity that it means.
func TestTuneForm(t *testing.T) {
	text := filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(text, []byte("Once upon a time"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newTuneForm()
	fill(t, &f.form, map[string]string{"goal": "0.5 %", "size": "1.5GB", "bpw": "4.25", "min-tps": "1e3", "budget": "1m30s", "text": text, "calibration": text, "directory": "/models/new"})
	o, err := f.job()
	if err != nil {
		t.Fatal(err)
	}
	limits, err := o.Limits()
	if err != nil {
		t.Fatal(err)
	}
	if limits.Goal != 0.005 || limits.MaxBytes != 1_500_000_000 || limits.MaxBPW != 4.25 || limits.MinTPS != 1000 || limits.Budget != 90*time.Second || o.Text != text || o.Calibration.Path != text || o.Out != "/models/new" {
		t.Errorf("the order is %+v", o)
	}
}

// A value that means nothing is refused, with its field, what is wrong and an
// example; the cursor goes there.
func TestTuneFormRefuses(t *testing.T) {
	for _, c := range []struct{ field, value, want string }{
		{"goal", "-1%", "1%"}, {"goal", "much", "1%"}, {"goal", "NaN%", "1%"}, {"size", "0", "500MB"}, {"size", "5 TiB", "500MB"}, {"bpw", "0", "above 0"}, {"bpw", "Inf", "above 0"},
		{"min-tps", "fast", "above 0"}, {"budget", "10", "10m"}, {"budget", "-5s", "10m"}, {"text", "/no/such/file", "no such file"}, {"text", os.TempDir(), "is not a file"},
		{"calibration", "~/no/such/file", "no such file"},
	} {
		f := newTuneForm()
		fill(t, &f.form, map[string]string{c.field: c.value})
		f.at = 0
		_, err := f.job()
		if err == nil || !strings.HasPrefix(err.Error(), c.field+": ") || !strings.Contains(err.Error(), c.want) || f.fields[f.at].label != c.field {
			t.Errorf("%s %q: %v, the cursor is at %s", c.field, c.value, err, f.fields[f.at].label)
			continue
		}
	}
}

// What is pasted into a form, or a chat, is text: no control character of it
// reaches the screen.
func TestPaste(t *testing.T) {
	paste := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(hostile + "\nsecond\tline"), Paste: true}
	for _, c := range []struct {
		keys  []string
		shown string
	}{{[]string{"3", "o"}, "second line"}, {[]string{"3", "/"}, "second line"}, {[]string{"5"}, "second⇥line"}} {
		a, _ := testApp("tuned")
		press(a, c.keys...)
		a.Update(paste)
		a.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
		view := a.View()
		checkScreen(t, strings.Join(c.keys, " "), view, 120, 40)
		if !strings.Contains(view, c.shown) {
			t.Errorf("after %q: %q is not on the screen", c.keys, c.shown)
		}
	}
}

// What is pasted into a chat reaches the model as it is, with line feeds for the
// line breaks of terminals.
func TestPasteIsSent(t *testing.T) {
	a, f := testApp("tuned")
	press(a, "5")
	a.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(" one\rtwo\r\nthree\nمی\u200cخواهم\tx "), Paste: true})
	f.calls = nil
	press(a, "enter")
	if want := "send  one\ntwo\nthree\nمی\u200cخواهم\tx  float=false after 4"; len(f.calls) != 1 || f.calls[0] != want {
		t.Errorf("%q, want %q", f.calls, want)
	}
	a.s.chat.turns = append(a.s.chat.turns, chatTurn{user: " one\n\x1b[31mtwo"})
	a.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	checkScreen(t, "sent", a.View(), 80, 24)
	if view := a.View(); strings.Contains(view, "\x1b[31mtwo") || !strings.Contains(view, "[31mtwo") {
		t.Error("the message is not shown as text")
	}
}

// Losses, with the goal, are drawn on a logarithmic scale where they span more than
// a decade.
func TestLossScale(t *testing.T) {
	a, _ := testApp("tuned")
	p := a.tuning
	set := func(losses ...float64) {
		a.s.tune.trials = nil
		for i, l := range losses {
			a.s.tune.trials = append(a.s.tune.trials, tune.Trial{ID: i + 1, State: tune.Missed, PPLRatio: 1 + l})
		}
	}
	for _, c := range []struct {
		losses []float64
		log    bool
	}{{[]float64{0.02, 0.05}, false}, {[]float64{0.02, 0.3}, true}, {[]float64{0.0005}, true}, {[]float64{0.3, -0.001}, true}} {
		set(c.losses...)
		if s := p.lossScale(); (s.Note() != "") != c.log {
			t.Errorf("losses %v: %q", c.losses, s.Note())
		}
	}
	set(0.02, 0.3)
	a.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
	a.at = onTune
	if view := ansi.Strip(a.View()); !strings.Contains(view, "(log)") || !strings.Contains(view, "30.00%") {
		t.Errorf("the page shows\n%s", view)
	}
}
