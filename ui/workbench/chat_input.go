package workbench

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/bubbles/cursor"
	"github.com/charmbracelet/bubbles/textarea"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"nibble/ui/term"
	"nibble/ui/theme"
)

// chatInput is the message being written: lines of text, pastes that are too large for
// them, and the messages before.
type chatInput struct {
	area     textarea.Model
	attached []string
	history  []string
	recall   int // position in history, len(history) is the message being written
	draft    string
}

// largePaste is from how many bytes on a paste is attached instead of shown: the lines of
// an input are wrapped anew with every key.
const largePaste = 20_000

// tabMark stands for a tab in the input, which would make spaces of it: a code point of
// the last private plane, which no text has.
const tabMark = rune(0x10fff0)

func newChatInput(th theme.Theme) chatInput {
	area := textarea.New()
	area.Prompt, area.ShowLineNumbers, area.CharLimit, area.MaxHeight = "", false, 0, 0
	area.Placeholder = "Ask something"
	area.KeyMap.InsertNewline.SetKeys("alt+enter", "ctrl+j")
	area.Cursor.SetMode(cursor.CursorStatic) // no timer wakes an idle screen
	area.FocusedStyle = textarea.Style{Placeholder: th.Dim}
	area.Cursor.Style = theme.Inverse
	area.Focus()
	return chatInput{area: area}
}

// key takes a key that no binding has.
func (in *chatInput) key(msg tea.KeyMsg) {
	if msg.Type == tea.KeyRunes {
		text := lineBreaks.Replace(string(msg.Runes))
		if msg.Paste && len(text) > largePaste {
			in.attached = append(in.attached, text)
			return
		}
		msg.Runes = []rune(strings.ReplaceAll(text, "\t", string(tabMark)))
	}
	if msg.Type == tea.KeyBackspace && in.area.Length() == 0 && len(in.attached) > 0 {
		in.attached = in.attached[:len(in.attached)-1]
		return
	}
	in.area, _ = in.area.Update(msg)
}

// lineBreaks makes those of a paste line feeds: terminals send the key for enter.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// text is the message as it is sent: what was written, then what was attached.
func (in *chatInput) text() string {
	text := strings.ReplaceAll(in.area.Value(), string(tabMark), "\t")
	return strings.Join(append([]string{text}, in.attached...), "\n\n")
}

// set replaces the message.
func (in *chatInput) set(text string) {
	in.attached = nil
	if len(text) > largePaste {
		in.area.Reset()
		in.attached = []string{text}
		return
	}
	in.area.SetValue(strings.ReplaceAll(text, "\t", string(tabMark)))
}

// take empties the input and remembers its message.
func (in *chatInput) take() string {
	text := in.text()
	in.history = append(in.history, text)
	in.recall = len(in.history)
	in.set("")
	return text
}

// up goes a line up, or to the message before from the first one; down is its inverse.
func (in *chatInput) up() {
	if in.area.Line() > 0 || in.area.LineInfo().RowOffset > 0 {
		in.area.CursorUp()
		return
	}
	in.remember(-1)
}

func (in *chatInput) down() {
	if info := in.area.LineInfo(); in.area.Line() < in.area.LineCount()-1 || info.RowOffset < info.Height-1 {
		in.area.CursorDown()
		return
	}
	in.remember(1)
}

// remember walks through earlier messages; the one being written comes back after the
// last.
func (in *chatInput) remember(by int) {
	to := max(0, min(len(in.history), in.recall+by))
	if to == in.recall {
		return
	}
	if in.recall == len(in.history) {
		in.draft = in.text()
	}
	in.recall = to
	if to == len(in.history) {
		in.set(in.draft)
	} else {
		in.set(in.history[to])
	}
}

// view draws the input in w columns and at most h lines.
func (in *chatInput) view(th theme.Theme, w, h int) []string {
	var lines []string
	for _, a := range in.attached {
		lines = append(lines, th.Accent.Render(fmt.Sprintf("+ attached: %s, %s", term.Bytes(int64(len(a))), counted(strings.Count(a, "\n")+1, "line"))))
	}
	lines = lines[max(0, len(lines)-max(0, h-1)):]
	in.area.SetWidth(max(4, w-2))
	rows := 0
	for l := range strings.SplitSeq(in.area.Value(), "\n") {
		if rows += 1 + lipgloss.Width(l)/max(1, w-3); rows >= h {
			break
		}
	}
	in.area.SetHeight(max(1, min(h-len(lines), rows)))
	mark := th.Accent.Render("› ")
	for l := range strings.SplitSeq(strings.ReplaceAll(in.area.View(), string(tabMark), "⇥"), "\n") {
		lines = append(lines, mark+l)
		mark = "  "
	}
	return lines
}
