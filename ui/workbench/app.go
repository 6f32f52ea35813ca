package workbench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nibble/quant"
	"nibble/ui/chart"
	"nibble/ui/term"
	"nibble/ui/theme"
	"nibble/ui/widget"
)

// page is one of the screens.
type page interface {
	name() string
	view(w, h int) []string
	bindings() []binding
	// typing reports whether the page takes printable keys as text.
	typing() bool
	// key handles what no binding took.
	key(msg tea.KeyMsg) tea.Cmd
}

// The pages in the order of the pipeline.
const (
	onModel = iota
	onEvaluate
	onTune
	onKernels
	onChat
	onCompare
	onModels
)

// app is the root model.
type app struct {
	e     engines
	s     *state
	th    theme.Theme
	pages []page
	at    int
	w, h  int

	model      *modelPage // of pages, as are the next
	evaluating *evaluatePage
	tuning     *tunePage
	chat       *chatPage

	ascii    bool      // the terminal shows nothing else
	chatsDir string    // transcripts
	out      io.Writer // the terminal, for what is no part of the screen
	ticking  bool      // the clock of a job moves
	help     bool
	helpTop  int // first line shown
	palette  palette
	log      bool                    // the drawer is open
	zoomed   bool                    // the pane with the focus has the whole page
	main     func(w, h int) []string // draws that pane
	asking   bool                    // whether to quit while a job runs
	armed    bool                    // the next ctrl+c quits
}

func newApp(e engines) *app {
	a := &app{e: e, s: &state{}, th: defaultTheme(), w: 80, h: 24}
	a.model, a.evaluating, a.tuning, a.chat = newModelPage(a), newEvaluatePage(a), newTunePage(a), newChatPage(a)
	a.palette = newPalette(a)
	a.pages = []page{onModel: a.model, onEvaluate: a.evaluating, onTune: a.tuning, onKernels: newKernelsPage(a), onChat: a.chat, onCompare: newComparePage(a), onModels: newModelsPage(a)}
	return a
}

// defaultTheme follows the terminal.
func defaultTheme() theme.Theme {
	th, _ := theme.Named(theme.Default)
	return th
}

// framed draws a pane in a frame whose title is its first line, or without one on a
// screen that has no room for it.
func (a *app) framed(focused bool, w, h int, draw func(w, h int) []string) []string {
	if focused {
		a.main = draw
	}
	if !a.roomy() {
		return chart.Fit(draw(w, h), w, h)
	}
	return widget.Frame(a.th, focused, w, h, draw)
}

// pane is framed with a title that only the frame shows.
func (a *app) pane(title string, focused bool, w, h int, draw func(w, h int) []string) []string {
	if !a.roomy() {
		return chart.Fit(draw(w, h), w, h)
	}
	return a.framed(focused, w, h, func(w, h int) []string {
		return append([]string{a.th.Title.Render(title)}, draw(w, h-1)...)
	})
}

// roomy reports whether panes have frames.
func (a *app) roomy() bool { return a.w >= framedWidth && a.h >= framedHeight }

// The screen from which on panes have frames.
const (
	framedWidth  = 100
	framedHeight = 30
)

// write goes to where a recipe is quantized: the plan comes first.
func (a *app) write(recipe quant.Recipe) {
	a.at = onModel
	a.model.order.begin(recipe.String())
}

// turned has the models listed when their page is first seen.
func (a *app) turned() {
	if a.at == onModels && !a.s.models.asked {
		a.s.models.asked = true
		a.e.listModels()
	}
}

func (a *app) Init() tea.Cmd {
	a.e.load()
	a.turned()
	return a.e.box().pump()
}

// tickMsg moves the clock of a running job.
type tickMsg struct{}

func tick() tea.Cmd { return tea.Tick(time.Second, func(time.Time) tea.Msg { return tickMsg{} }) }

func (a *app) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		a.w, a.h = msg.Width, msg.Height
	case tickMsg:
		if a.ticking = a.s.job.running; !a.ticking {
			return a, nil // nothing moves until a job runs again
		}
		return a, tick()
	case batchMsg:
		for _, c := range a.e.box().drain() {
			c(a.s)
		}
		a.model.order.settle()
		if a.s.job.running && !a.ticking {
			a.ticking = true
			return a, tea.Batch(a.e.box().pump(), tick())
		}
		return a, a.e.box().pump()
	case copyMsg:
		if a.out != nil {
			_, _ = io.WriteString(a.out, string(msg)) // a terminal that is gone is noticed elsewhere
		}
	case tea.KeyMsg:
		cmd := a.key(msg)
		a.turned()
		return a, cmd
	}
	return a, nil
}

// key routes a key: an open question first, then the page's text, its bindings,
// the global ones.
func (a *app) key(msg tea.KeyMsg) tea.Cmd {
	k := msg.String()
	if k == "ctrl+c" {
		return a.interrupt()
	}
	a.armed = false
	if a.asking {
		a.asking = false
		if k == "y" || k == "enter" {
			return tea.Quit
		}
		a.s.say("")
		return nil
	}
	if a.help {
		switch k {
		case "down", "j", "pgdown":
			a.helpTop++
		case "up", "k", "pgup":
			a.helpTop--
		default:
			a.help = false
		}
		return nil
	}
	if a.palette.open {
		return a.palette.key(msg)
	}
	p := a.pages[a.at]
	printable := (msg.Type == tea.KeyRunes || msg.Type == tea.KeySpace) && !msg.Alt
	if p.typing() && printable {
		return p.key(msg)
	}
	if cmd, ok := dispatch(p.bindings(), k); ok {
		return cmd
	}
	if cmd, ok := dispatch(a.global(), k); ok {
		return cmd
	}
	return p.key(msg)
}

// interrupt cancels what runs, or arms ctrl+c to quit.
func (a *app) interrupt() tea.Cmd {
	switch {
	case a.armed:
		return tea.Quit
	case a.e.cancel():
		a.s.job.stopping = true
		a.s.say("cancelling…")
	default:
		a.s.say("press ctrl+c again to quit")
	}
	a.armed = true
	return nil
}

func (a *app) global() []binding {
	turn := func(by int) func() tea.Cmd {
		return func() tea.Cmd {
			a.at = (a.at + by + len(a.pages)) % len(a.pages)
			return nil
		}
	}
	bs := []binding{
		{[]string{"tab"}, "tab", "page: the next", true, turn(1)},
		{[]string{"shift+tab"}, "shift+tab", "page: the one before", false, turn(-1)},
	}
	for i, p := range a.pages {
		bs = append(bs, binding{[]string{fmt.Sprint(i + 1), fmt.Sprintf("alt+%d", i+1)}, fmt.Sprint(i + 1), p.name() + " page; also alt with the digit, where digits are text", false, func() tea.Cmd { a.at = i; return nil }})
	}
	return append(bs,
		binding{[]string{"t"}, "t", "tune: search for the best recipe", true, func() tea.Cmd { a.tuning.start(); return nil }},
		binding{[]string{"x"}, "x", "cancel: the running job", true, func() tea.Cmd {
			if a.e.cancel() {
				a.s.job.stopping = true
				a.s.say("cancelling…")
			}
			return nil
		}},
		binding{[]string{"?", "f1"}, "? f1", "help", true, func() tea.Cmd { a.help, a.helpTop = true, 0; return nil }},
		binding{[]string{"q"}, "q", "quit", true, func() tea.Cmd {
			if lost := a.wouldBeLost(); lost != "" {
				a.asking = true
				a.s.say(lost + "; quit all the same? y/n")
				return nil
			}
			return tea.Quit
		}},
		binding{[]string{":", "ctrl+p"}, ": ctrl+p", "palette: find what can be done by some of its letters", true, func() tea.Cmd { a.palette.show(); return nil }},
		binding{[]string{"~", "ctrl+l"}, "~ ctrl+l", "log: what was said, below the page, or hide it", false, func() tea.Cmd { a.log = !a.log; return nil }},
		binding{[]string{"+"}, "+", "zoom: the pane with the mark alone, or all again", false, func() tea.Cmd { a.zoomed = !a.zoomed; return nil }},
		binding{[]string{"ctrl+z"}, "ctrl+z", "suspend: fg in the shell comes back", false, func() tea.Cmd { return tea.Suspend }},
		binding{[]string{"ctrl+c"}, "ctrl+c", "cancel; twice: quit", false, func() tea.Cmd { return nil }},
	)
}

// wouldBeLost says what quitting ends or loses, "" if nothing.
func (a *app) wouldBeLost() string {
	s := a.s
	switch name := a.e.busy(); {
	case name != "":
		return name + " is running"
	case s.model.inMemory:
		return "the INT4 model is in memory alone: z with a directory, or w on the Tune page, writes it"
	case slices.ContainsFunc(s.chat.turns, func(t chatTurn) bool { return !t.saved }):
		return "the conversation is not saved: ctrl+s on the Chat page does"
	}
	return ""
}

// The smallest screen that is drawn in full.
const (
	minWidth  = 40
	minHeight = 10
)

func (a *app) View() string {
	view := strings.Join(a.lines(), "\n")
	if a.ascii {
		view = chart.ASCII(view)
	}
	return view
}

// lines are exactly h lines of w columns.
func (a *app) lines() []string {
	if a.w < minWidth || a.h < minHeight {
		return chart.Fit([]string{"nibble: " + a.statusText(), a.s.message, fmt.Sprintf("too small: %d x %d", a.w, a.h), fmt.Sprintf("pages need %d x %d", minWidth, minHeight)}, a.w, a.h)
	}
	head := append(a.ribbon(), a.tabs())
	foot := []string{a.status(), a.footer()}
	body := a.h - len(head) - len(foot)
	var content []string
	drawer := 0
	if a.log && body >= 2*minDrawer {
		drawer = max(minDrawer, body/4)
	}
	switch {
	case a.help:
		content = a.helpText(a.w, body-drawer)
	case a.palette.open:
		content = a.palette.view(a.w, body-drawer)
	default:
		content = a.page(a.w, body-drawer)
	}
	if drawer > 0 {
		content = append(chart.Fit(content, a.w, body-drawer), a.logView(a.w, drawer)...)
	}
	lines := chart.Fit(head, a.w, len(head))
	lines = append(lines, chart.Fit(content, a.w, body)...)
	return append(lines, chart.Fit(foot, a.w, len(foot))...)
}

// minDrawer is the least height of the log.
const minDrawer = 4

// page draws the page, or of it the pane with the focus alone.
func (a *app) page(w, h int) []string {
	a.main = nil
	content := a.pages[a.at].view(w, h)
	if !a.zoomed || a.main == nil {
		return content
	}
	return widget.Frame(a.th, true, w, h, a.main)
}

// tabs is the line of pages over the body. On a narrow screen the others are digits.
func (a *app) tabs() string {
	line := a.tabLine(page.name)
	if ansi.StringWidth(line) > a.w {
		line = a.tabLine(func(page) string { return "" })
	}
	return line + a.th.Dim.Render(strings.Repeat("─", max(0, a.w-ansi.StringWidth(line))))
}

// tabLine has the pages by their digits, and the current one and others with names.
func (a *app) tabLine(other func(page) string) string {
	var b strings.Builder
	for i, p := range a.pages {
		if i == a.at { // the brackets show without colours, too
			b.WriteString(a.th.TabOn.Render(fmt.Sprintf("[%d %s]", i+1, p.name())))
		} else {
			b.WriteString(" " + a.th.Tab.Render(strings.TrimSpace(fmt.Sprintf("%d %s", i+1, other(p)))) + " ")
		}
	}
	return b.String()
}

// statusText tells in words what goes on.
func (a *app) statusText() string {
	j := a.s.job
	if !j.running {
		return "idle"
	}
	word := j.name
	switch {
	case j.stopping:
		word = "cancelling " + word
	case j.paused:
		word += " PAUSED, p goes on,"
	}
	mark := "●"
	if j.paused {
		mark = "‖"
	}
	text := fmt.Sprintf("%s %s %3.0f %%  %s", mark, word, 100*j.share, term.Duration(time.Since(j.started)))
	if j.left > 0 && j.share > 0 && j.share < 1 && !j.paused {
		text += ", " + term.Duration(j.left) + " left"
	}
	return text + "  " + term.CleanLine(j.detail)
}

// newsTime is how long what was said covers the progress of a job.
const newsTime = 4 * time.Second

func (a *app) status() string {
	if a.s.failed {
		return " " + a.th.Bad.Render("✗ "+a.s.message)
	}
	if news := a.s.message != "" && time.Since(a.s.said) < newsTime; a.s.job.running && !a.asking && !news {
		return " " + a.th.Accent.Render(a.statusText())
	}
	return " " + a.s.message
}

func (a *app) footer() string {
	typing := a.pages[a.at].typing()
	short := func(bs []binding) (parts []string) {
		for _, b := range bs {
			if b.footer {
				key := b.keys[0]
				if i := slices.IndexFunc(b.keys, func(k string) bool { return len(k) > 1 }); typing && i >= 0 {
					key = b.keys[i] // the others are text
				}
				parts = append(parts, a.th.Accent.Render(key)+" "+a.th.Dim.Render(shortHelp(b.help)))
			}
		}
		return parts
	}
	bindings, global := a.pages[a.at].bindings(), a.global()
	if typing {
		global = slices.DeleteFunc(global, func(b binding) bool {
			return b.keys[0] != "tab" && b.keys[0] != "?" && b.keys[0] != ":" || slices.ContainsFunc(bindings, func(own binding) bool { return own.matches("tab") })
		})
	}
	page, rest := short(bindings), short(global)
	// Where there is no room for all, the page's last ones are left to the help.
	for {
		line := " " + strings.Join(append(slices.Clone(page), rest...), a.th.Dim.Render(" · "))
		if ansi.StringWidth(line) <= a.w || len(page) == 0 {
			return line
		}
		page = page[:len(page)-1]
	}
}

// shortHelp is the help up to its first colon.
func shortHelp(help string) string {
	text, _, _ := strings.Cut(help, ":")
	return text
}

// helpLabel is the room for the keys.
const helpLabel = 16

// helpText lists the keys in h lines, from helpTop on where there are more. What
// is longer than a line goes on in the next.
func (a *app) helpText(w, h int) []string {
	lines := []string{" " + a.th.Title.Render(a.pages[a.at].name()+" page")}
	add := func(bs []binding) {
		for _, b := range bs {
			label := fmt.Sprintf("   %-*s", helpLabel-3, b.label)
			for text := range strings.SplitSeq(ansi.Wordwrap(b.help, max(10, w-helpLabel-1), ""), "\n") {
				lines = append(lines, label+text)
				label = strings.Repeat(" ", helpLabel)
			}
		}
	}
	add(a.pages[a.at].bindings())
	lines = append(lines, "", " "+a.th.Title.Render("Everywhere"))
	add(a.global())
	end := "any other key closes this"
	h-- // for the end
	if more := len(lines) - h; more > 0 {
		a.helpTop = max(0, min(a.helpTop, more))
		lines = lines[a.helpTop : a.helpTop+max(0, h)]
		end = fmt.Sprintf("↓ ↑ scroll, %d lines more; any other key closes this", more-a.helpTop)
	}
	return append(lines, " "+a.th.Dim.Render(end))
}
