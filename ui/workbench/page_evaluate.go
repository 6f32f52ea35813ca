package workbench

import (
	"fmt"
	"math"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nibble/eval"
	"nibble/eval/report"
	"nibble/quant"
	"nibble/ui/chart"
	"nibble/ui/term"
	"nibble/ui/widget"
)

// evaluatePage tells what the INT4 model loses, where, and what to do about it.
type evaluatePage struct {
	a     *app
	form  evaluateForm
	parts []*evalPart
	at    int // of parts: what the cursor keys move in

	advice int // of the report: what is shown and used
}

// evalPart is one table of the page with what it says about the row under the
// cursor.
type evalPart struct {
	name   string
	list   list
	size   func() int // rows, 0 if there is nothing to show
	table  func(w int) (head string, rows []string)
	detail func(at, w int) []string
}

func newEvaluatePage(a *app) *evaluatePage {
	p := &evaluatePage{a: a, form: newEvaluateForm()}
	p.parts = []*evalPart{
		{name: "worst parts", size: func() int { return len(p.damages().Parts) }, table: p.damage, detail: p.matrices},
		{name: "worst tokens", size: func() int { return len(p.worstTokens()) }, table: p.tokens, detail: p.guesses},
		{name: "continuations", size: func() int { return len(p.continuations()) }, table: p.prompts, detail: p.answers},
		{name: "questions", size: func() int { return len(p.results()) }, table: p.tasks, detail: func(int, int) []string { return nil }},
	}
	return p
}

func (p *evaluatePage) name() string { return "Evaluate" }
func (p *evaluatePage) typing() bool { return p.form.open }

func (p *evaluatePage) key(msg tea.KeyMsg) tea.Cmd {
	if p.form.open {
		p.form.key(msg)
	}
	return nil
}

func (p *evaluatePage) bindings() []binding {
	do := func(f func()) func() tea.Cmd { return func() tea.Cmd { f(); return nil } }
	if p.form.open {
		return append([]binding{{[]string{"enter"}, "enter", "evaluate: on what the form says", true, do(p.start)}}, p.form.bindings(func() { p.form.tell(p.a.s) })...)
	}
	return append([]binding{
		{[]string{"e"}, "e", "evaluate: the INT4 model against the float one, with where it loses", true, do(p.start)},
		{[]string{"v"}, "v", "view: worst parts, worst tokens, continuations or questions", p.measured(), do(p.turn)},
		{[]string{"u"}, "u", "use: plan the recipe that is advised", p.measured(), do(p.use)},
		{[]string{"a"}, "a", "advice: the next one", false, do(func() { p.advice++ })},
		{[]string{"o"}, "o", "options: goal, text, questions and windows of the evaluation", true, do(func() { p.form.open = true })},
	}, p.parts[p.at].list.bindings()...)
}

// measured reports whether there is anything to show.
func (p *evaluatePage) measured() bool {
	return slices.ContainsFunc(p.parts, func(part *evalPart) bool { return part.size() > 0 })
}

// turn goes to the next part that has something to show.
func (p *evaluatePage) turn() {
	for range p.parts {
		if p.at = (p.at + 1) % len(p.parts); p.parts[p.at].size() > 0 {
			return
		}
	}
}

// advised is the selected advice, nil if there is none, and how many there are.
func (p *evaluatePage) advised() (*report.Advice, int) {
	r := p.a.s.eval.report
	if r == nil || len(r.Advice) == 0 {
		return nil, 0
	}
	p.advice %= len(r.Advice)
	return &r.Advice[p.advice], len(r.Advice)
}

// use goes to where the recipe that is advised is quantized.
func (p *evaluatePage) use() {
	adv, _ := p.advised()
	if adv == nil {
		p.a.s.say("there is no advice to use")
		return
	}
	recipe, err := quant.ParseRecipe(adv.Recipe)
	if err != nil {
		p.a.s.fail(err)
		return
	}
	p.a.write(recipe)
}

func (p *evaluatePage) view(w, h int) []string {
	if p.form.open {
		return chart.Fit(append([]string{" " + p.a.th.Title.Render("Evaluate on"), ""}, p.form.view(p.a.th, w)...), w, h)
	}
	lines := p.summary(w, h)
	lines = chart.Fit(lines, w, min(len(lines), h))
	h -= len(lines)
	switch {
	case !p.measured():
		return append(lines, chart.Fit(nil, w, h)...)
	case w >= 120 && h >= 24 && p.parts[0].size() > 0:
		// All parts: the first on the left with the questions, the others on the right.
		left, right, upper := w*2/5, w-w*2/5, h/2
		asked := 0
		if n := p.parts[3].size(); n > 0 {
			asked = min(n+4, h/2)
		}
		return append(lines, chart.Beside(append(p.framed(0, left-1, h-asked), p.framed(3, left-1, asked)...), chart.Fit(nil, 1, h),
			append(p.framed(1, right, upper), p.framed(2, right, h-upper)...))...)
	}
	if p.parts[p.at].size() == 0 && !p.a.s.job.running {
		p.turn()
	}
	return append(lines, p.framed(p.at, w, h)...)
}

// small is the height of a body that has no room for texts.
const small = 16

// summary is the verdict with the figures behind it and the advice.
func (p *evaluatePage) summary(w, h int) []string {
	s, th := p.a.s, p.a.th
	e := s.eval.result
	switch {
	case e == nil && s.int4():
		return []string{"", " not evaluated yet: " + th.Accent.Render("e") + " compares the INT4 model with the float one, and finds where it loses"}
	case e == nil:
		return []string{"", " no INT4 model yet: " + th.Accent.Render("z") + " on the Model page quantizes, " + th.Accent.Render("t") + " tunes; " + th.Accent.Render("e") + " measures the float model"}
	case !e.Compared():
		return []string{" " + th.Title.Render("perplexity "+term.Measured(e.PPL, e.PPLSE)) + th.Dim.Render(fmt.Sprintf(" · %s · %d tokens, windows of %d", term.CleanLine(e.what), e.Tokens, e.Ctx)),
			" nothing to compare it with: this is the model as it was opened"}
	}
	verdict := e.Verdict(s.eval.goal)
	lines := wrapped(verdictMarks[verdict.Word]+" "+verdict.Sentence(), w, 2)
	for i, line := range lines {
		lines[i] = th.Title.Render(line)
	}
	lines = append(lines, p.picture(e.PPLRatio-1, e.PPLRatioSE, s.eval.goal, w)...)
	figures := fmt.Sprintf("%s · perplexity %s, float %s · KL divergence %.5f ± %.5f, 99 %% below %.3f · same top token %.2f ± %.2f %% · Δp RMS %.2f %% · %d tokens",
		term.CleanLine(e.what), term.Measured(e.PPL, e.PPLSE), term.Fixed("%.4f", e.BasePPL), e.KLDMean, e.KLDSE, e.KLDP99, 100*e.SameTop, 100*e.SameTopSE, 100*e.RMSDP, e.Tokens)
	room := max(3, h/8) // for a text; on a small screen the tables need it
	if h < small {
		room = 1
	}
	lines = append(lines, wrapped(figures, w, min(room, 2))...)
	for _, note := range e.Notes {
		lines = append(lines, wrapped("note: "+note, w, min(room, 2))...)
	}
	switch r := s.eval.report; {
	case r == nil && s.job.running && s.job.name == "evaluating":
		lines = append(lines, th.Dim.Render(" measuring where it is lost…"))
	case r == nil:
		lines = append(lines, th.Dim.Render(" e measures where it is lost"))
	default:
		if adv, n := p.advised(); adv != nil {
			title, next := "advice: ", ""
			if n > 1 {
				title, next = fmt.Sprintf("advice %d of %d: ", p.advice+1, n), ", "+th.Accent.Render("a")+" shows the next"
			}
			lines = append(lines, wrapped(title+adv.Text, w, room)...)
			lines = append(lines, " "+th.Accent.Render("u")+" uses it"+next+fmt.Sprintf(": %s, %.3f bpw: ", term.Bytes(adv.SizeBytes), adv.BPW)+th.Dim.Render(term.CleanLine(adv.Recipe)))
		}
		for _, remark := range r.Remarks {
			lines = append(lines, wrapped(remark, w, min(room, 2))...)
		}
	}
	return lines
}

// picture draws the loss with its error on a scale from nothing lost to beyond the goal;
// nothing where there is no room for it, or no number.
func (p *evaluatePage) picture(loss, se, goal float64, w int) []string {
	const interval = 1.96 // standard errors on each side: 95 %
	if !p.a.roomy() || !(goal > 0) || !(math.Abs(loss) < 1e6) || !(se >= 0) || math.IsInf(se, 0) {
		return nil
	}
	end := max(2*goal, 1.1*(loss+interval*se))
	room := min(w, 110) - 18
	at := func(v float64) int { return max(0, min(room-1, int(v/end*float64(room-1)+0.5))) }
	scale := []rune(strings.Repeat("─", room))
	for x := at(loss - interval*se); x <= at(loss+interval*se); x++ {
		scale[x] = '═'
	}
	scale[at(goal)] = '┃'
	scale[at(loss)] = '●'
	th := p.a.th
	style := th.Accent
	switch {
	case loss+interval*se <= goal:
		style = th.Good
	case loss-interval*se > goal:
		style = th.Bad
	}
	labels := []rune(strings.Repeat(" ", room))
	copy(labels[min(at(goal), room-10):], []rune("goal "+term.Fixed("%.2f", 100*goal)))
	return []string{"       " + th.Dim.Render(string(labels)), " 0 % ├" + style.Render(string(scale)) + "┤ " + th.Dim.Render(term.Percent(end))}
}

// verdictMarks tell a verdict without colour.
var verdictMarks = map[string]string{eval.Reached: "✓", eval.Missed: "✗", eval.Undecided: "?"}

// wrapped is foreign text in at most n lines of w columns.
func wrapped(text string, w, n int) []string {
	var lines []string
	for line := range strings.SplitSeq(ansi.Wrap(term.CleanLine(text), max(10, w-2), ""), "\n") {
		lines = append(lines, " "+strings.TrimLeft(line, " "))
	}
	if len(lines) > n {
		lines = append(lines[:n-1], lines[n-1]+" …")
	}
	return lines
}

// ending is text of w columns at most: its end, if that is not all.
func ending(text string, w int) string {
	if n, w := ansi.StringWidth(text), max(0, w); n > w {
		return "…" + ansi.TruncateLeft(text, n-w+1, "")
	}
	return text
}

// framed is a part in its frame.
func (p *evaluatePage) framed(i, w, h int) []string {
	return p.a.framed(i == p.at, w, h, func(w, h int) []string { return p.draw(i, w, h) })
}

// draw shows a part: its table, and below it what belongs to the selected row.
func (p *evaluatePage) draw(i, w, h int) []string {
	part, th := p.parts[i], p.a.th
	name := " " + part.name
	if i == p.at && !p.a.roomy() {
		name = th.Accent.Render("▾" + part.name)
	}
	if part.size() == 0 {
		return chart.Fit([]string{name, th.Dim.Render("   not measured yet")}, w, h)
	}
	head, rows := part.table(w)
	detail := part.detail(min(part.list.at, len(rows)-1), w)
	room := min(len(detail), max(0, h-1-min(len(rows)+1, max(3, h/2))))
	lines := append(chart.Fit([]string{name}, w, 1), part.list.view(th, head, rows, w, min(len(rows)+1, h-1-room))...)
	return chart.Fit(append(lines, detail[:room]...), w, h)
}

// damage lists what each part of the model causes alone, the worst first.
func (p *evaluatePage) damage(w int) (string, []string) {
	d := p.damages()
	parts := d.Worst(len(d.Parts))
	const full = 70 // columns that fit the errors of the figures
	head, bar := fmt.Sprintf(" %-16s %9s %7s", "part", "KLD", "share"), min(30, w-36)
	if w >= full {
		head, bar = fmt.Sprintf(" %-20s %19s %7s", "alone in the float model", "KL divergence", "share"), min(30, w-52)
	}
	var rows []string
	for _, x := range parts {
		row := fmt.Sprintf(" %s %9.5f %5.1f %%", chart.Fit([]string{shortName(x.Name)}, 16, 1)[0], x.KLD, 100*x.Share)
		if w >= full {
			row = fmt.Sprintf(" %s %.5f ± %.5f %5.1f %%", chart.Fit([]string{shortName(x.Name)}, 24, 1)[0], x.KLD, x.KLDSE, 100*x.Share)
		}
		if parts[0].KLD > 0 {
			row += " " + p.a.th.Damage(x.KLD/parts[0].KLD).Render(widget.Bar(x.KLD/parts[0].KLD, bar))
		}
		rows = append(rows, row)
	}
	return head, rows
}

// shortName leaves out what all names share.
func shortName(name string) string { return strings.TrimPrefix(term.CleanLine(name), "model.") }

// damages is what the parts of the model cause; there are none before that is
// measured.
func (p *evaluatePage) damages() *eval.Damage {
	if r := p.a.s.eval.report; r != nil && r.Damage != nil {
		return r.Damage
	}
	return &eval.Damage{}
}

// matrices shares out what a layer causes among its matrices.
func (p *evaluatePage) matrices(at, w int) []string {
	d := p.damages()
	part := d.Worst(len(d.Parts))[at]
	if len(part.Matrices) == 0 {
		return nil
	}
	lines := []string{p.a.th.Dim.Render(fmt.Sprintf(" %s, by matrix", part.Name))}
	for _, m := range part.Matrices {
		name := m.Module[strings.LastIndex(m.Module, ".")+1:]
		lines = append(lines, fmt.Sprintf("   %-12s %9.5f %5.1f %% of all", term.CleanLine(name), m.KLD, 100*m.Share))
	}
	return lines
}

func (p *evaluatePage) worstTokens() []eval.WorstToken {
	if e := p.a.s.eval.result; e != nil {
		return e.WorstTokens
	}
	return nil
}

// tokens lists where the two models differ most.
func (p *evaluatePage) tokens(w int) (string, []string) {
	var rows []string
	for _, t := range p.worstTokens() {
		token := "▸" + term.OneLine(t.Token.Text)
		rows = append(rows, fmt.Sprintf(" %8.4f %s%s", t.KLD, ending(term.OneLine(t.Context), w-11-ansi.StringWidth(token)), token))
	}
	return fmt.Sprintf(" %8s %s", "KLD", "the text before ▸ the token"), rows
}

// guesses tells what both models expected at a token.
func (p *evaluatePage) guesses(at, w int) []string {
	t := p.worstTokens()[at]
	line := func(who string, guesses []eval.Guess, chance func(eval.Guess) float64) string {
		var parts []string
		for _, g := range guesses {
			parts = append(parts, fmt.Sprintf("%q %.1f %%", term.OneLine(g.Text), 100*chance(g)))
		}
		return p.a.th.Dim.Render(fmt.Sprintf("   %-6s", who)) + strings.Join(parts, ", ")
	}
	return []string{line("INT4", t.Says, func(g eval.Guess) float64 { return g.P }), line("float", t.BaseSays, func(g eval.Guess) float64 { return g.BaseP })}
}

func (p *evaluatePage) continuations() []eval.Continuation {
	if r := p.a.s.eval.report; r != nil {
		return r.Continuations
	}
	return nil
}

// prompts lists the beginnings that both models went on from.
func (p *evaluatePage) prompts(w int) (string, []string) {
	var rows []string
	for _, c := range p.continuations() {
		same := "same to the end"
		if c.Part != nil {
			same = fmt.Sprintf("%d tokens", c.SameTokens)
		}
		rows = append(rows, fmt.Sprintf(" %-15s %s", same, ending(term.OneLine(c.Prompt), w-18)))
	}
	return fmt.Sprintf(" %-15s %s", "alike for", "after"), rows
}

// answers puts both continuations side by side, from where they part.
func (p *evaluatePage) answers(at, w int) []string {
	c, th := p.continuations()[at], p.a.th
	lines := wrapped("both: "+term.OneLine(c.Same), w, 4)
	if c.Part == nil {
		return lines
	}
	column := (w - 3) / 2
	head := func(who string, g eval.Guess, chance float64) string {
		return th.Dim.Render(fmt.Sprintf("%s, with %q at %.0f %%", who, term.OneLine(g.Text), 100*chance))
	}
	own := append([]string{" " + head("INT4", c.Part.Says, c.Part.Says.P)}, wrapped(term.OneLine(c.Says), column, 6)...)
	base := append([]string{" " + head("float", c.Part.BaseSays, c.Part.BaseSays.BaseP)}, wrapped(term.OneLine(c.BaseSays), column, 6)...)
	n := max(len(own), len(base))
	return append(lines, chart.Beside(chart.Fit(own, column, n), chart.Fit(base, w-column, n))...)
}

func (p *evaluatePage) results() []eval.TaskResult {
	if e := p.a.s.eval.result; e != nil {
		return e.Tasks
	}
	return nil
}

// tasks lists how questions were answered, and which answers changed.
func (p *evaluatePage) tasks(w int) (string, []string) {
	const (
		changes = 60 // columns that fit which answers changed
		lengths = 76 // and the accuracy by length
	)
	head := fmt.Sprintf(" %-9s %4s %13s %8s %6s", "set", "n", "right", "float", "p")
	if w >= changes {
		head += "  worse better"
	}
	if w >= lengths {
		head += "  by length"
	}
	var rows []string
	for _, t := range p.results() {
		row := fmt.Sprintf(" %s %4d %5.1f ± %-3.1f %%", chart.Fit([]string{term.CleanLine(t.Name)}, 9, 1)[0], t.N, 100*t.Acc, 100*t.AccSE)
		if c := t.TaskComparison; c != nil {
			row += fmt.Sprintf(" %6.1f %% %6.3f", 100*c.BaseAcc, c.PValue)
			if w >= changes {
				row += fmt.Sprintf("  %5d %6d", c.Worse, c.Better)
			}
		}
		if w >= lengths {
			row = chart.Fit([]string{row}, 60, 1)[0] + fmt.Sprintf("%5.1f ± %.1f %%", 100*t.AccNorm, 100*t.AccNormSE)
		}
		rows = append(rows, row)
	}
	return head, rows
}
