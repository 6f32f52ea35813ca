package workbench

import (
	"fmt"
	"slices"
	"strings"

	"github.com/charmbracelet/bubbles/cursor"
	"github.com/charmbracelet/bubbles/textinput"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"nibble/eval"
	"nibble/quant"
	"nibble/ui/chart"
	"nibble/ui/term"
	"nibble/ui/theme"
)

// comparePage puts the answers of both models to the same prompt side by side, and says
// token by token where the INT4 model would have said something else. Like the chat it
// always takes text.
type comparePage struct {
	a     *app
	input textinput.Model
	at    int // the token that is looked at
	shown []eval.Step
}

func newComparePage(a *app) *comparePage {
	in := textinput.New()
	in.Prompt, in.Placeholder = "", "a prompt for both models, such as: Tell me a story about a dog named Max."
	in.Cursor.SetMode(cursor.CursorStatic)
	in.Cursor.Style = theme.Inverse
	in.PlaceholderStyle = a.th.Dim
	in.Focus()
	return &comparePage{a: a, input: in}
}

func (p *comparePage) name() string { return "Compare" }
func (p *comparePage) typing() bool { return true }

func (p *comparePage) key(msg tea.KeyMsg) tea.Cmd {
	if msg.Type == tea.KeyRunes {
		msg.Runes = []rune(term.CleanLine(string(msg.Runes)))
	}
	p.input, _ = p.input.Update(msg)
	return nil
}

func (p *comparePage) bindings() []binding {
	do := func(f func()) func() tea.Cmd { return func() tea.Cmd { f(); return nil } }
	return []binding{
		{[]string{"enter"}, "enter", "compare: both models answer, with the same seed", true, do(p.ask)},
		{[]string{"up"}, "↑", "the token before", false, do(func() { p.move(-1) })},
		{[]string{"down"}, "↓", "token: the next one", true, do(func() { p.move(1) })},
		{[]string{"pgup"}, "pgup", "the token before at which the models differ much", false, do(func() { p.jump(-1) })},
		{[]string{"pgdown"}, "pgdn", "difference: the next token at which the models differ much", true, do(func() { p.jump(1) })},
		{[]string{"alt+s"}, "alt+s", "split: the token at which the answers part", true, do(p.toSplit)},
		{[]string{"alt+b"}, "alt+b", "branch: both go on from what the INT4 model says here instead", true, do(p.branch)},
		{[]string{"alt+r"}, "alt+r", "8 bits: quantize by the first advice of the Evaluate page, and answer again", true, do(p.improve)},
		{[]string{"esc"}, "esc", "stop: the answers", false, do(func() { p.a.e.cancel() })},
	}
}

// ask has the prompt answered by both models.
func (p *comparePage) ask() {
	text := strings.TrimSpace(p.input.Value())
	if text == "" {
		text = p.a.s.compare.request.text
	}
	if text == "" {
		return
	}
	chat := p.a.chat
	p.run(compareRequest{system: chat.settings.system.text(), text: text, settings: chat.settings.settings()})
}

func (p *comparePage) run(r compareRequest) {
	if busy := p.a.e.busy(); busy != "" {
		p.a.s.say(busy + " is running; wait for it or cancel it with ctrl+c")
		return
	}
	p.a.e.compare(r)
}

func (p *comparePage) move(by int) {
	p.at = max(0, min(len(p.a.s.compare.steps)-1, p.at+by))
}

// least is the divergence that is drawn as much at least: of models that hardly differ,
// nothing stands out.
const least = 0.05

// tinted is the share of the worst from which on a token has a colour.
const tinted = 0.02

// much is the share of the worst divergence from which on a token counts as one at which
// the models differ much.
const much = 0.25

func (p *comparePage) jump(by int) {
	steps, worst := p.a.s.compare.steps, p.worst()
	for i := p.at + by; i >= 0 && i < len(steps); i += by {
		if steps[i].KLD >= much*worst && worst > 0 {
			p.at = i
			return
		}
	}
	p.a.s.say("there is no other token on this side at which the models differ much")
}

func (p *comparePage) toSplit() {
	if c := p.a.s.compare; c.split < len(c.steps) {
		p.at = c.split
	}
}

// branch has both models go on from what the INT4 model finds likeliest at the token.
func (p *comparePage) branch() {
	c := p.a.s.compare
	if p.at >= len(c.steps) {
		p.a.s.say("there is no token to branch from yet: enter compares")
		return
	}
	step := c.steps[p.at]
	other := step.Says[0]
	if i := slices.IndexFunc(step.Says, func(g eval.Guess) bool { return g.ID != step.Token.ID }); other.ID == step.Token.ID && i >= 0 {
		other = step.Says[i] // it says the same: its second choice
	}
	r := c.request
	r.begun = slices.Clone(r.begun)
	for _, s := range c.steps[:p.at] {
		r.begun = append(r.begun, s.Token.ID)
	}
	r.begun = append(r.begun, other.ID)
	p.run(r)
}

// improve gives the part that causes most damage the bits that are advised.
func (p *comparePage) improve() {
	c := p.a.s.compare
	adv, _ := p.a.evaluating.advised()
	switch {
	case p.a.e.busy() != "":
		p.a.s.say(p.a.e.busy() + " is running; wait for it or cancel it with ctrl+c")
	case len(c.steps) == 0:
		p.a.s.say("compare first: enter")
	case adv == nil:
		p.a.s.say("which part to blame is not known: e on the Evaluate page finds it and advises")
	default:
		recipe, err := quant.ParseRecipe(adv.Recipe)
		if err != nil {
			p.a.s.fail(err)
			return
		}
		p.a.e.improve(recipe, c.request)
	}
}

// worst is the largest divergence, which the others are drawn by.
func (p *comparePage) worst() float64 {
	worst := least
	for _, s := range p.a.s.compare.steps {
		worst = max(worst, s.KLD)
	}
	return worst
}

func (p *comparePage) view(w, h int) []string {
	c, th := p.a.s.compare, p.a.th
	if len(c.steps) > 0 && (len(p.shown) == 0 || &p.shown[0] != &c.steps[0]) { // another comparison
		p.shown, p.at = c.steps, min(c.split, len(c.steps)-1)
	}
	p.input.Width = max(1, w-8)
	prompt := []string{" " + th.Accent.Render("› ") + p.input.View()}
	foot := p.token(w)
	if h < 14 {
		foot = foot[:min(len(foot), 2)]
	}
	rest := max(0, h-len(foot)-1)
	left := w / 2
	var lines []string
	if w < 60 {
		upper := rest / 2
		lines = append(p.side(c.float, c.steps, true, w, upper), p.side(c.int4, c.own, false, w, rest-upper)...)
	} else {
		lines = chart.Beside(p.side(c.float, c.steps, true, left, rest), p.side(c.int4, c.own, false, w-left, rest))
	}
	return chart.Fit(append(append(lines, foot...), prompt...), w, h)
}

// side draws a model's answer, each token with the style of how much is lost at it.
func (p *comparePage) side(x side, steps []eval.Step, float bool, w, h int) []string {
	c, th := p.a.s.compare, p.a.th
	title := x.name
	if title == "" {
		title = map[bool]string{true: "float model", false: "INT4 model"}[float]
	}
	if c.request.text != "" {
		title += fmt.Sprintf(" · temp %g", c.temp)
		if c.temp > 0 {
			title += fmt.Sprintf(" seed %d", c.seed)
		}
	}
	return p.a.framed(false, w, h, func(w, h int) []string {
		lines := []string{" " + th.Title.Render(title)}
		if c.request.text == "" {
			return append(lines, "", th.Dim.Render(" Write a prompt and press enter: both models answer it with the same seed,"),
				th.Dim.Render(" and every token of the float model's answer is compared."))
		}
		at := 0 // the line of the token that is looked at
		body := wrap(th.Accent.Render(oneStyle(c.request.text)), w-2)
		answer := c.begun + x.answer
		if len(steps) > 0 {
			answer = styledLines(th.Dim.Render, c.begun) + p.tokens(steps, float)
		}
		for i, l := range wrap(answer, w-2) {
			if strings.Contains(l, here) {
				at = len(body) + i
			}
			body = append(body, strings.ReplaceAll(l, here, ""))
		}
		if x.stats != "" {
			body = append(body, wrap(th.Dim.Render(x.stats), w-2)...)
		}
		top := max(0, min(at-(h-1)/2, len(body)-(h-1))) // the token stays in view
		for _, l := range body[top:] {
			lines = append(lines, " "+l)
		}
		return lines
	})
}

// here marks the token that is looked at while lines are broken: a character of no width.
const here = "\u2060"

// oneStyle is text of one line, so that a style does not have to begin again in each.
func oneStyle(text string) string { return strings.ReplaceAll(term.Clean(text), "\n", " ") }

// tokens joins the tokens of an answer: the first that the two answers do not share has a
// mark before it, the one that is looked at is inverse.
func (p *comparePage) tokens(steps []eval.Step, float bool) string {
	c, th, worst := p.a.s.compare, p.a.th, p.worst()
	var b strings.Builder
	for i, s := range steps {
		if i == c.split {
			b.WriteString(th.Bad.Render("▸"))
		}
		style := lipgloss.NewStyle()
		if share := s.KLD / worst; share >= tinted {
			style = th.Damage(share)
		}
		render := style.Render
		if i == p.at && float {
			b.WriteString(here)
			render = theme.Inverse.Render
		}
		b.WriteString(styledLines(render, s.Token.Text))
	}
	return b.String()
}

// styledLines styles each line of a text by itself.
func styledLines(render func(...string) string, text string) string {
	parts := strings.Split(text, "\n")
	for i, part := range parts {
		if part != "" {
			parts[i] = render(strings.ReplaceAll(part, "\t", "    "))
		}
	}
	return strings.Join(parts, "\n")
}

// token tells what both models say at the token that is looked at, over a line of how
// much each token loses.
func (p *comparePage) token(w int) []string {
	c, th := p.a.s.compare, p.a.th
	if len(c.steps) == 0 {
		return nil
	}
	p.move(0)
	worst, step := p.worst(), c.steps[p.at]
	mean := 0.0
	for _, s := range c.steps {
		mean += s.KLD / float64(len(c.steps))
	}
	var bars strings.Builder
	first := max(0, min(p.at-(w-20)/2, len(c.steps)-(w-20)))
	for i, s := range c.steps[first:min(len(c.steps), first+max(1, w-20))] {
		mark := th.Damage(s.KLD / worst).Render(damageMark(s.KLD, worst))
		if first+i == p.at {
			mark = theme.Inverse.Render(damageMark(s.KLD, worst))
		}
		bars.WriteString(mark)
	}
	says := func(who string, guesses []eval.Guess, chance func(eval.Guess) float64) string {
		text := th.Dim.Render(fmt.Sprintf(" %-6s", who))
		for _, g := range guesses {
			text += fmt.Sprintf(" %q %.0f %% ", term.OneLine(g.Text), 100*chance(g))
		}
		return text
	}
	split := "the answers do not part"
	if c.split < len(c.steps) {
		split = fmt.Sprintf("they part at %d", c.split+1)
	}
	return []string{
		" " + th.Title.Render(fmt.Sprintf("token %d of %d %q", p.at+1, len(c.steps), ansi.Truncate(term.OneLine(step.Token.Text), 20, "…"))) +
			th.Dim.Render(fmt.Sprintf("  KL divergence %.4f, mean %.4f · %s", step.KLD, mean, split)),
		" " + th.Dim.Render("KLD of each token ") + bars.String(),
		says("float", step.BaseSays, func(g eval.Guess) float64 { return g.BaseP }),
		says("INT4", step.Says, func(g eval.Guess) float64 { return g.P }),
	}
}
