package workbench

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/charmbracelet/bubbles/viewport"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nibble/ui/chart"
	"nibble/ui/term"
	"nibble/ui/widget"
)

// chatPage is a conversation with the model in use. It always takes text: no key that
// writes a character is a command.
type chatPage struct {
	a        *app
	input    chatInput
	settings chatForm
	file     form // which transcript to open
	scrolled viewport.Model
	away     bool         // the view was scrolled: it stays while an answer grows
	thinking bool         // what the model thought is shown
	branches [][]chatTurn // conversations that were left by another answer or message
	drawn    []drawnTurn  // of each turn
}

// drawnTurn is how a turn was drawn last.
type drawnTurn struct {
	turn     chatTurn
	w        int
	thinking bool
	theme    string
	lines    []string
}

func newChatPage(a *app) *chatPage {
	p := &chatPage{a: a, input: newChatInput(a.th), settings: newChatForm(), scrolled: viewport.New(80, 20)}
	p.file.fields = []*field{{label: "transcript", help: "a file of lines of JSON with messages, such as ctrl+s writes", check: readable}}
	return p
}

func (p *chatPage) name() string { return "Chat" }
func (p *chatPage) typing() bool { return true }

func (p *chatPage) key(msg tea.KeyMsg) tea.Cmd {
	switch {
	case p.settings.open:
		p.settings.key(msg)
	case p.file.open:
		p.file.key(msg)
	default:
		p.input.key(msg)
	}
	return nil
}

func (p *chatPage) bindings() []binding {
	do := func(f func()) func() tea.Cmd { return func() tea.Cmd { f(); return nil } }
	switch {
	case p.settings.open:
		return append([]binding{{[]string{"enter"}, "enter", "use: these settings from the next message on", true, do(p.closeSettings)}}, p.settings.bindings(func() { p.settings.tell(p.a.s) })...)
	case p.file.open:
		return append([]binding{{[]string{"enter"}, "enter", "open: go on with this conversation", true, do(p.open)}}, p.file.bindings(func() {})...)
	}
	page := func(by int) func() { return func() { p.scroll(by * max(1, p.scrolled.Height-1)) } }
	return []binding{
		{[]string{"enter"}, "enter", "send", true, do(p.send)},
		{[]string{"alt+enter", "ctrl+j"}, "alt+enter", "a new line in the message; also ctrl+j", false, func() tea.Cmd { p.input.key(tea.KeyMsg{Type: tea.KeyEnter, Alt: true}); return nil }},
		{[]string{"esc"}, "esc", "stop: the answer, or go back to its end", true, do(p.back)},
		{[]string{"ctrl+o"}, "ctrl+o", "FP32/INT4: the other model goes on with the conversation", true, do(func() { p.a.s.chat.useFloat = !p.a.s.chat.useFloat })},
		{[]string{"ctrl+r"}, "ctrl+r", "again: another answer to the last message", true, do(func() { p.redo(false) })},
		{[]string{"alt+e"}, "alt+e", "edit: write the last message anew", false, do(func() { p.redo(true) })},
		{[]string{"alt+v"}, "alt+v", "version: the conversation as it was before an answer was asked for again, a message edited, or a new conversation begun", false, do(p.branch)},
		{[]string{"alt+n"}, "alt+n", "new: begin another conversation; alt+v comes back to this one", false, do(p.fresh)},
		{[]string{"alt+s"}, "alt+s", "settings: instructions, temperature, seed and the like", true, do(func() { p.settings.open = true })},
		{[]string{"alt+t"}, "alt+t", "thoughts: show what a model thought before it answered, or hide it", false, do(func() { p.thinking = !p.thinking })},
		{[]string{"ctrl+s"}, "ctrl+s", "save: write the conversation to a file, which eval and --calib read, too", false, do(p.save)},
		{[]string{"alt+o"}, "alt+o", "open: go on with a conversation that was saved", false, do(func() { p.file.fields[0].value, p.file.open = newestTranscript(p.a.chatsDir), true })},
		{[]string{"ctrl+y"}, "ctrl+y", "copy: the last answer, to the terminal's clipboard", false, p.copy},
		{[]string{"up"}, "↑", "a line up, or the message before", false, do(p.input.up)},
		{[]string{"down"}, "↓", "a line down, or the message after", false, do(p.input.down)},
		{[]string{"pgup"}, "pgup", "scroll back", false, do(page(-1))},
		{[]string{"pgdown"}, "pgdn", "scroll forward", false, do(page(1))},
	}
}

// send passes the message on as it was written or pasted.
func (p *chatPage) send() {
	switch busy := p.a.e.busy(); {
	case strings.TrimSpace(p.input.text()) == "":
	case busy != "":
		p.a.s.say(busy + " is running; wait for it or cancel it with ctrl+c")
	default:
		p.ask(p.input.take())
	}
}

// ask has a message answered after the turns that there are.
func (p *chatPage) ask(text string) {
	c := &p.a.s.chat
	p.away = false
	p.a.e.send(chatRequest{c.useFloat, p.settings.system.text(), messages("", c.turns), text, p.settings.settings()})
}

// redo takes the last turn back: to answer it again, or to write it anew.
func (p *chatPage) redo(edit bool) {
	c := &p.a.s.chat
	n := len(c.turns) - 1
	if busy := p.a.e.busy(); n < 0 || busy != "" {
		p.a.s.say("there is nothing to do again while " + map[bool]string{true: busy + " is running", false: "the conversation is empty"}[busy != ""])
		return
	}
	text := c.turns[n].user
	p.branches = append(p.branches, c.turns)
	c.turns = slices.Clone(c.turns[:n])
	if edit {
		p.input.set(text)
		return
	}
	p.ask(text)
}

// fresh begins another conversation.
func (p *chatPage) fresh() {
	if c := &p.a.s.chat; len(c.turns) > 0 && !c.busy {
		p.branches = append(p.branches, c.turns)
		c.turns, c.used = nil, 0
	}
}

// branch goes round the versions of the conversation.
func (p *chatPage) branch() {
	c := &p.a.s.chat
	if c.busy || len(p.branches) == 0 {
		p.a.s.say("there is no other version of the conversation")
		return
	}
	was := c.turns
	c.turns, p.branches = p.branches[0], p.branches[1:]
	if len(was) > 0 {
		p.branches = append(p.branches, was)
	}
	p.a.s.say(fmt.Sprintf("another version of the conversation; alt+v shows the next of %d", len(p.branches)+1))
}

// back stops the answer, or goes to the end of what is said.
func (p *chatPage) back() {
	if p.a.s.chat.busy {
		p.a.e.cancel()
		return
	}
	p.away = false
}

func (p *chatPage) closeSettings() {
	if err := p.settings.mistake(); err != nil {
		p.a.s.fail(err)
		return
	}
	p.a.s.say("")
	p.settings.open = false
}

// save writes the conversation to a file.
func (p *chatPage) save() {
	turns := p.a.s.chat.turns
	if len(turns) == 0 {
		p.a.s.say("there is nothing to save yet")
		return
	}
	path, err := saveTranscript(p.a.chatsDir, messages(p.settings.system.text(), turns))
	if err != nil {
		p.a.s.fail(err)
		return
	}
	for i := range turns {
		turns[i].saved = true
	}
	p.a.s.say("saved to " + path)
}

// open goes on with a conversation of a file.
func (p *chatPage) open() {
	system, turns, err := readTranscript(p.file.fields[0].path())
	if err != nil {
		p.a.s.fail(err)
		return
	}
	p.fresh()
	p.a.s.chat.turns, p.settings.system.value, p.file.open = turns, system, false
	p.a.s.say(fmt.Sprintf("%s of %s", counted(len(turns), "turn"), filepath.Base(p.file.fields[0].path())))
}

// copy puts the last answer on the terminal's clipboard, by OSC 52.
func (p *chatPage) copy() tea.Cmd {
	turns := p.a.s.chat.turns
	if len(turns) == 0 {
		return nil
	}
	text := turns[len(turns)-1].answer
	p.a.s.say(fmt.Sprintf("%s are on the clipboard, if the terminal takes OSC 52; ctrl+s writes a file", counted(len([]rune(text)), "character")))
	return func() tea.Msg { return copyMsg(ansi.SetSystemClipboard(text)) }
}

// copyMsg is a sequence for the terminal that changes nothing on its screen.
type copyMsg string

// scroll moves the view, which then stays where it is.
func (p *chatPage) scroll(by int) {
	p.scrolled.SetYOffset(p.scrolled.YOffset + by)
	p.away = !p.scrolled.AtBottom()
}

func (p *chatPage) view(w, h int) []string {
	switch {
	case p.settings.open:
		return p.a.framed(true, w, h, func(w, h int) []string {
			return append([]string{" " + p.a.th.Title.Render("Settings of the chat"), ""}, p.settings.view(p.a.th, w)...)
		})
	case p.file.open:
		return p.a.framed(true, w, h, func(w, h int) []string {
			return append([]string{" " + p.a.th.Title.Render("Open a conversation"), ""}, p.file.view(p.a.th, w)...)
		})
	}
	input := p.input.view(p.a.th, w-4, max(1, min(8, h/3)))
	room := len(input) + 1 // a rule above it
	if p.a.roomy() {
		room = len(input) + 2 // its frame
	}
	lines := p.a.framed(false, w, h-room, func(w, h int) []string {
		return append([]string{p.about()}, p.said(w, h-1)...)
	})
	if !p.a.roomy() {
		lines = append(lines, p.a.th.Dim.Render(strings.Repeat("─", w)))
		for _, l := range input {
			lines = append(lines, " "+l)
		}
		return chart.Fit(lines, w, h)
	}
	return append(lines, p.a.framed(true, w, room, func(int, int) []string {
		title := "message"
		if words := p.settings.words(); words != "" {
			title += " ·" + words
		}
		return append([]string{p.a.th.Dim.Render(title)}, input...)
	})...)
}

// about tells who answers, and how full the context is.
func (p *chatPage) about() string {
	s, th := p.a.s, p.a.th
	about := " " + th.Title.Render(s.activeModel())
	if !s.int4() {
		about += th.Dim.Render("  (no INT4 model yet: z on the Model page or t makes one)")
	}
	if s.kernel.forced != "" {
		about += "  " + th.Bad.Render("! forced: "+s.kernel.forced)
	}
	if s.chat.limit > 0 {
		about += "  " + widget.Gauge(float64(s.chat.used)/float64(s.chat.limit), 8) + th.Dim.Render(fmt.Sprintf(" context %d of %d tokens", s.chat.used, s.chat.limit))
	}
	if p.away {
		about += th.Accent.Render("  scrolled: esc goes to the end")
	}
	return about
}

// said is the part of the conversation that is in view.
func (p *chatPage) said(w, h int) []string {
	v := &p.scrolled
	v.Width, v.Height = w, max(0, h)
	v.SetContent(strings.Join(p.transcript(w), "\n"))
	if !p.away {
		v.GotoBottom()
	}
	return strings.Split(v.View(), "\n")
}

// transcript draws all turns; those that have not changed are drawn already.
func (p *chatPage) transcript(w int) []string {
	th, turns := p.a.th, p.a.s.chat.turns
	if len(turns) == 0 {
		return []string{"", th.Dim.Render(" Ask something. The demo model tells small stories and knows a few facts:"),
			th.Dim.Render(" Tell me a story about a dog named Max. / What is the capital of Peru? / What is 37 + 45?")}
	}
	p.drawn = slices.Grow(p.drawn, len(turns))[:len(turns)]
	var lines []string
	for i, t := range turns {
		d := &p.drawn[i]
		if d.lines == nil || d.turn != t || d.w != w || d.thinking != p.thinking || d.theme != th.Name {
			*d = drawnTurn{t, w, p.thinking, th.Name, p.turn(t, w)}
		}
		lines = append(lines, d.lines...)
	}
	return lines
}

// shownMessage is how much of a user's message is shown, in bytes.
const shownMessage = 4000

func (p *chatPage) turn(t chatTurn, w int) []string {
	th := p.a.th
	lines := []string{""}
	text, rest := term.Clean(t.user), ""
	if len(text) > shownMessage {
		text, rest = strings.ToValidUTF8(text[:shownMessage], ""), fmt.Sprintf("… %s in all", term.Bytes(int64(len(text))))
	}
	for i, l := range append(wrap(text, w-4), wrap(rest, w-4)...) {
		lead := "   "
		if i == 0 {
			lead = " › "
		}
		lines = append(lines, th.Accent.Render(lead+l))
	}
	thinking, answer, open := thought(t.answer)
	if thinking != "" || open {
		switch {
		case p.thinking:
			for _, l := range wrap(thinking, w-7) {
				lines = append(lines, th.Dim.Render("   ┊ "+l))
			}
		case open:
			lines = append(lines, th.Dim.Render(fmt.Sprintf("   thinking: %s so far; alt+t shows them", counted(len(strings.Fields(thinking)), "word"))))
		default:
			lines = append(lines, th.Dim.Render(fmt.Sprintf("   thought for %s; alt+t shows them", counted(len(strings.Fields(thinking)), "word"))))
		}
	}
	for _, l := range markdown(th, answer, w-4) {
		lines = append(lines, "   "+l)
	}
	switch {
	case t.pending:
		lines = append(lines, th.Dim.Render("   …"))
	case t.stats != "":
		for _, l := range wrap(t.model+": "+t.stats, w-4) {
			lines = append(lines, th.Dim.Render("   "+l))
		}
	}
	return lines
}
