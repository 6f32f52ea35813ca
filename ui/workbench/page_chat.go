package workbench

import (
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nibble/ui/chart"
	"nibble/ui/term"
)

// chatPage is a conversation with the model in use.
type chatPage struct {
	a       *app
	input   []rune
	focus   bool
	scroll  int // lines up from the end
	history []string
	recall  int // position in history, len(history) is the line being written
}

func newChatPage(a *app) *chatPage { return &chatPage{a: a, focus: true} }

func (p *chatPage) name() string { return "Chat" }
func (p *chatPage) typing() bool { return p.focus }

func (p *chatPage) bindings() []binding {
	if !p.focus {
		return []binding{{[]string{"i", "enter"}, "i", "write a message", true, func() tea.Cmd { p.focus = true; return nil }}}
	}
	return []binding{
		{[]string{"enter"}, "enter", "send", true, p.send},
		{[]string{"esc"}, "esc", "stop: the answer, or leave the input line", true, func() tea.Cmd {
			if p.a.s.chat.busy {
				p.a.e.cancel()
			} else {
				p.focus = false
			}
			return nil
		}},
		{[]string{"ctrl+o"}, "ctrl+o", "FP32/INT4: change the model that answers", true, func() tea.Cmd {
			p.a.s.chat.useFloat = !p.a.s.chat.useFloat
			return nil
		}},
		{[]string{"ctrl+r"}, "ctrl+r", "reset: forget the conversation", false, func() tea.Cmd {
			if !p.a.s.chat.busy {
				p.a.s.chat.turns, p.a.s.chat.fresh = nil, true
			}
			return nil
		}},
		{[]string{"up"}, "↑", "the message before", false, func() tea.Cmd { p.remember(-1); return nil }},
		{[]string{"down"}, "↓", "the message after", false, func() tea.Cmd { p.remember(1); return nil }},
		{[]string{"pgup"}, "pgup", "scroll back", false, func() tea.Cmd { p.scroll += 5; return nil }},
		{[]string{"pgdown"}, "pgdn", "scroll forward", false, func() tea.Cmd { p.scroll = max(0, p.scroll-5); return nil }},
		{[]string{"backspace"}, "backspace", "delete a character", false, func() tea.Cmd {
			if n := len(p.input); n > 0 {
				p.input = p.input[:n-1]
			}
			return nil
		}},
		{[]string{"ctrl+u"}, "ctrl+u", "delete the line", false, func() tea.Cmd { p.input = nil; return nil }},
	}
}

func (p *chatPage) key(msg tea.KeyMsg) tea.Cmd {
	if p.focus && (msg.Type == tea.KeyRunes || msg.Type == tea.KeySpace) {
		p.input = append(p.input, []rune(lineBreaks.Replace(string(msg.Runes)))...)
	}
	return nil
}

// lineBreaks makes those of a paste line feeds: terminals send the key for enter.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// send passes the message on as it was written or pasted.
func (p *chatPage) send() tea.Cmd {
	text := string(p.input)
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if p.a.e.busy() != "" {
		p.a.s.say(p.a.e.busy() + " is running; wait for it or cancel it with ctrl+c")
		return nil
	}
	p.history = append(p.history, text)
	p.recall, p.input, p.scroll = len(p.history), nil, 0
	p.a.e.send(text, p.a.s.chat.useFloat, p.a.s.chat.fresh)
	return nil
}

// remember walks through earlier messages.
func (p *chatPage) remember(by int) {
	p.recall = max(0, min(len(p.history), p.recall+by))
	p.input = nil
	if p.recall < len(p.history) {
		p.input = []rune(p.history[p.recall])
	}
}

func (p *chatPage) view(w, h int) []string {
	s, th := p.a.s, p.a.th
	about := " " + th.Title.Render(s.activeModel())
	if !s.int4() {
		about += th.Dim.Render("  (no INT4 model yet: z on the Model page or t makes one)")
	}
	if s.chat.limit > 0 {
		about += th.Dim.Render(fmt.Sprintf("  context %d of %d tokens", s.chat.used, s.chat.limit))
	}
	cursor := ""
	if p.focus {
		cursor = "▏"
	}
	prompt := " › " + term.OneLine(string(p.input)) + cursor
	if over := ansi.StringWidth(prompt) - w; over > 0 { // keep the end in sight
		prompt = " › …" + ansi.TruncateLeft(prompt, over+5, "")
	}
	room := h - 3
	text := p.transcript(w - 2)
	p.scroll = max(0, min(p.scroll, len(text)-room))
	end := len(text) - p.scroll
	lines := []string{about}
	lines = append(lines, chart.Fit(text[max(0, end-room):end], w, room)...)
	return append(lines, th.Dim.Render(strings.Repeat("─", w)), prompt)
}

func (p *chatPage) transcript(w int) []string {
	th := p.a.th
	var lines []string
	if len(p.a.s.chat.turns) == 0 {
		return []string{"", th.Dim.Render(" Ask something. The demo model tells small stories and knows a few facts:"),
			th.Dim.Render(" Tell me a story about a dog named Max. / What is the capital of Peru? / What is 37 + 45?")}
	}
	for _, t := range p.a.s.chat.turns {
		lines = append(lines, "")
		for i, l := range wrap(term.Clean(t.user), w-3) {
			lead := "   "
			if i == 0 {
				lead = " › "
			}
			lines = append(lines, th.Accent.Render(lead+l))
		}
		for _, l := range wrap(t.answer, w-3) {
			lines = append(lines, "   "+l)
		}
		switch {
		case t.pending:
			lines = append(lines, th.Dim.Render("   …"))
		case t.stats != "":
			lines = append(lines, th.Dim.Render("   "+t.model+": "+t.stats))
		}
	}
	return lines
}

// wrap breaks text into lines of at most w columns.
func wrap(text string, w int) []string {
	if text == "" {
		return nil
	}
	return strings.Split(ansi.Wrap(strings.ReplaceAll(text, "\t", "    "), max(4, w), ""), "\n")
}
