package workbench

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nibble/model/text"
)

// chatApp is a workbench on its chat page, whose conversation has one turn.
func chatApp(t *testing.T) (*app, *fake, *chatPage) {
	t.Helper()
	a, f := testApp("loaded")
	a.at, a.chatsDir = onChat, t.TempDir()
	a.s.chat.turns = []chatTurn{{user: "one", answer: "first"}}
	a.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
	return a, f, a.pages[onChat].(*chatPage)
}

// No key that writes a character is a command on the chat page, whatever was pressed
// before; alt and a digit turn pages.
func TestChatTakesText(t *testing.T) {
	a, f, p := chatApp(t)
	press(a, "esc", "esc", "t", "q", "?", "5", "x", "z", "/", " ")
	if got := p.input.text(); got != "tq?5xz/ " || len(f.calls) > 0 || a.help || a.at != onChat {
		t.Errorf("the message is %q, calls %q, page %d", got, f.calls, a.at)
	}
	if press(a, "alt+1"); a.at != onModel {
		t.Errorf("alt+1 leads to page %d", a.at)
	}
	press(a, "5", "!")
	if got := p.input.text(); got != "tq?5xz/ !" {
		t.Errorf("after coming back the message is %q", got)
	}
	if press(a, "f1"); !a.help {
		t.Error("f1 shows no help")
	}
}

func TestChatInput(t *testing.T) {
	a, f, p := chatApp(t)
	press(a, "a", "b", "ctrl+j", "c", " ", "d", "ctrl+w", "ctrl+a", "X", "enter")
	if want := []string{"send ab\nXc  float=false after 2"}; !slices.Equal(f.calls, want) {
		t.Errorf("calls %q, want %q", f.calls, want)
	}
	press(a, "n", "e", "w", "up")
	if got := p.input.text(); got != "ab\nXc " {
		t.Errorf("the message before is %q", got)
	}
	press(a, "down")
	if got := p.input.text(); got != "new" {
		t.Errorf("the message being written is %q", got)
	}
	f.calls = nil
	large := strings.Repeat("line\r", 30_000)
	p.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(large), Paste: true})
	if view := ansi.Strip(a.View()); !strings.Contains(view, "attached: 150 kB, 30001 lines") {
		t.Errorf("a large paste:\n%s", view)
	}
	press(a, "enter")
	if want := "send new\n\n" + strings.ReplaceAll(large, "\r", "\n") + " float=false after 2"; len(f.calls) != 1 || f.calls[0] != want {
		t.Errorf("%.60q is sent", f.calls)
	}
	p.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(large), Paste: true})
	if press(a, "backspace"); p.input.text() != "" {
		t.Error("an attachment stays")
	}
}

// An answer is asked for again, a message written anew, and what was before comes back.
func TestChatVersions(t *testing.T) {
	a, f, p := chatApp(t)
	c := &a.s.chat
	c.turns = append(c.turns, chatTurn{user: "two", answer: "second"})
	press(a, "ctrl+r")
	if want := []string{"send two float=false after 2"}; !slices.Equal(f.calls, want) || len(c.turns) != 1 {
		t.Errorf("again: %q after %+v", f.calls, c.turns)
	}
	if press(a, "alt+v"); len(c.turns) != 2 || c.turns[1].answer != "second" {
		t.Errorf("the version before is %+v", c.turns)
	}
	if press(a, "alt+e"); len(c.turns) != 1 || p.input.text() != "two" {
		t.Errorf("to be edited: %q after %+v", p.input.text(), c.turns)
	}
	if press(a, "alt+n"); len(c.turns) != 0 {
		t.Errorf("a new conversation is %+v", c.turns)
	}
	f.job = "tuning"
	if press(a, "ctrl+r", "enter"); len(f.calls) != 1 {
		t.Errorf("while a job runs: %q", f.calls)
	}
}

// A view that was scrolled stays while an answer grows; esc goes back to its end.
func TestChatScroll(t *testing.T) {
	a, _, p := chatApp(t)
	turn := &a.s.chat.turns[0]
	turn.answer = strings.Repeat("line\n", 100)
	a.View()
	press(a, "pgup")
	top := p.scrolled.YOffset
	turn.answer += strings.Repeat("more\n", 50)
	if a.View(); p.scrolled.YOffset != top || top == 0 {
		t.Errorf("the view went from line %d to %d", top, p.scrolled.YOffset)
	}
	press(a, "esc")
	if view := a.View(); !strings.Contains(view, "more") || !p.scrolled.AtBottom() {
		t.Errorf("esc does not lead to the end:\n%s", view)
	}
}

func TestChatText(t *testing.T) {
	a, _, _ := chatApp(t)
	turn := &a.s.chat.turns[0]
	turn.answer = "<think>two hidden words"
	if view := ansi.Strip(a.View()); !strings.Contains(view, "thinking: 3 words so far") || strings.Contains(view, "hidden") {
		t.Errorf("while it thinks:\n%s", view)
	}
	turn.answer += "</think>\n\n# Title\n\n- a **bold** item\n```go\nx := 1\n"
	view := ansi.Strip(a.View())
	for _, want := range []string{"thought for 3 words", "   Title", "- a bold item", "│ x := 1"} {
		if !strings.Contains(view, want) {
			t.Errorf("%q is not in\n%s", want, view)
		}
	}
	if press(a, "alt+t"); !strings.Contains(a.View(), "┊ two hidden words") {
		t.Error("thoughts are not shown")
	}
	long := markdown(a.th, "1. "+strings.Repeat("word ", 40), 40)
	if len(long) < 4 || !strings.HasPrefix(long[1], "   word") {
		t.Errorf("an item of a list: %q", long)
	}
}

// A conversation that was saved is opened again, and read as texts to evaluate on.
func TestTranscript(t *testing.T) {
	a, _, p := chatApp(t)
	p.settings.system.value = "Be short."
	press(a, "ctrl+s")
	path := newestTranscript(a.chatsDir)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v, %q", err, a.s.message)
	}
	if want := `{"messages":[{"role":"system","content":"Be short."},{"role":"user","content":"one"},{"role":"assistant","content":"first"}]}` + "\n"; string(data) != want {
		t.Errorf("saved as %s", data)
	}
	if _, err := text.Read(path, nil); err != nil {
		t.Error(err)
	}
	p.settings.system.value, a.s.chat.turns = "", nil
	press(a, "alt+o", "enter")
	if turns := a.s.chat.turns; len(turns) != 1 || turns[0].user != "one" || turns[0].answer != "first" || p.settings.system.value != "Be short." {
		t.Errorf("opened as %+v: %q", turns, a.s.message)
	}
	bad := filepath.Join(t.TempDir(), "a.jsonl")
	for _, line := range []string{"", "{}", `{"messages":[{"role":"assistant","content":"x"}]}`, `{"messages":[{"role":"user","content":"x"},{"role":"user","content":"y"}]}`} {
		if err := os.WriteFile(bad, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readTranscript(bad); err == nil {
			t.Errorf("%q is a conversation", line)
		}
	}
}

func TestChatSettings(t *testing.T) {
	a, f, p := chatApp(t)
	press(a, "alt+s", "s", "down", "0", ".", "5", "down", "down", "down", "down", "down", "down", "7", "enter")
	if p.settings.open {
		t.Fatalf("the settings stay open: %q", a.s.message)
	}
	g := p.settings.settings()
	if p.settings.system.text() != "s" || g.Temp == nil || *g.Temp != 0.5 || g.Seed == nil || *g.Seed != 7 || g.TopP != nil || g.Tokens != nil {
		t.Errorf("settings %+v", g)
	}
	if !strings.Contains(a.View(), "temperature 0.5 seed 7") {
		t.Error("settings are not shown")
	}
	press(a, "alt+s", "down", "down", "backspace", "backspace", "backspace", "-", "1", "enter")
	if !p.settings.open || !a.s.failed {
		t.Error("a temperature below 0")
	}
	if len(f.calls) > 0 {
		t.Errorf("calls %q", f.calls)
	}
}

// The last answer goes to the terminal's clipboard.
func TestCopy(t *testing.T) {
	a, _, p := chatApp(t)
	var out strings.Builder
	a.out = &out
	a.Update(p.copy()())
	if want := "\x1b]52;c;Zmlyc3Q=\a"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
