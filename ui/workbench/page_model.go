package workbench

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	tea "github.com/charmbracelet/bubbletea"

	"nibble/model"
	"nibble/quant"
	"nibble/ui/chart"
	"nibble/ui/term"
	"nibble/ui/theme"
	"nibble/ui/widget"
)

// modelPage shows what the model is and what became of its matrices, and takes
// the order to quantize it.
type modelPage struct {
	a        *app
	order    quantizeForm
	list     list
	inOrder  bool // the matrices in the model's order also when they are done
	follows  bool // the cursor goes with the matrix in work
	followed int  // to this row
}

func newModelPage(a *app) *modelPage { return &modelPage{a: a, order: newQuantizeForm(a)} }

func (p *modelPage) name() string { return "Model" }
func (p *modelPage) typing() bool { return p.order.open }

func (p *modelPage) key(msg tea.KeyMsg) tea.Cmd {
	if p.order.open {
		p.order.key(msg)
	}
	return nil
}

func (p *modelPage) bindings() []binding {
	if p.order.open {
		return p.order.bindings()
	}
	return append([]binding{
		{[]string{"z", "enter"}, "z enter", "quantize: choose how, see what it costs, confirm", true, func() tea.Cmd { p.order.begin(""); return nil }},
		{[]string{"d"}, "d", "damage: the most damaged matrices first, or the model's order", true, func() tea.Cmd { p.inOrder = !p.inOrder; return nil }},
		{[]string{"e"}, "e", "evaluate: what the model loses, and where", true, func() tea.Cmd { p.a.evaluating.start(); return nil }},
	}, p.list.bindings()...)
}

func (p *modelPage) view(w, h int) []string {
	if p.order.open {
		return p.order.view(w, h)
	}
	left := p.about()
	right := max(w/2, w-50)
	if w < 100 {
		// One column: the facts, then as much of the table as fits.
		n := min(len(left), h/2)
		lines := chart.Fit(left, w, n)
		return append(lines, p.matrices(w, h-n)...)
	}
	return chart.Beside(p.a.pane("Model", false, w-right, h, func(int, int) []string { return left }), p.a.pane("Matrices", true, right, h, p.matrices))
}

func (p *modelPage) about() []string {
	m, th := p.a.s.model, p.a.th
	if !m.loaded {
		return []string{"", " loading " + term.CleanLine(m.ref) + "…"}
	}
	line := func(label, format string, args ...any) string {
		return fmt.Sprintf(" %s %s", th.Dim.Render(fmt.Sprintf("%-12s", label)), fmt.Sprintf(format, args...))
	}
	c := m.config
	wide := c.Widths()
	yes := map[bool]string{true: "yes", false: "no"}
	lines := []string{
		line("model", "%s, %s", m.name, term.CleanLine(c.Arch)),
		line("parameters", "%s in %s, %s", term.Count(m.params), m.dtype, term.Bytes(m.bytes)),
		line("shape", "%d layers, hidden %d, ffn %d, heads %d/%d", c.Layers(), c.Hidden, wide.Inner, wide.Heads, wide.KVHeads),
		line("context", "%d tokens, vocabulary %d", c.Positions, c.Vocab),
		line("tokenizer", "%s; template: %s", m.tokenizer, yes[m.template]),
	}
	for _, n := range m.notes {
		lines = append(lines, line("note", "%s", n))
	}
	if m.report.SizeBytes > 0 {
		lines = append(lines, line("recipe", "%s", th.Accent.Render(term.CleanLine(m.report.Recipe.Default.String()))), line("INT4 model", "%s, %.3f bits per weight", term.Bytes(m.report.SizeBytes), m.report.BPW))
	}
	if c := m.report.Calibration; c != nil {
		lines = append(lines, line("calibrated", "%d x %d tokens of %s", c.Samples, c.Length, term.CleanLine(c.Name)))
		for _, n := range c.Notes {
			lines = append(lines, line("note", "%s", term.CleanLine(n)))
		}
	}
	if n := len(m.trained); n > 0 && p.a.s.job.name != "quantizing" {
		last, gain := m.trained[n-1], 0.0
		for _, t := range m.trained {
			gain += t.Loss / t.Before / float64(n)
		}
		lines = append(lines, line("trained", "%d x, the last in %d iterations; loss %s in the mean", n, last.Iterations, term.Percent(gain-1)))
	}
	for i := len(m.results) - 1; i >= 0 && i >= len(m.results)-4; i-- {
		e := m.results[i]
		lines = append(lines, "", line("evaluated", "%s", th.Title.Render(e.what)), line("perplexity", "%s", term.Measured(e.PPL, e.PPLSE)))
		if e.Compared() {
			lines = append(lines,
				line("vs float", "%s", term.PercentSE(e.PPLRatio-1, e.PPLRatioSE)),
				line("KLD", "%.5f ± %.5f", e.KLDMean, e.KLDSE),
				line("same top", "%.2f %%", 100*e.SameTop))
		}
	}
	return lines
}

// matrices is the table under what is going on.
func (p *modelPage) matrices(w, h int) []string {
	top := p.working(w, h)
	return append(top, p.table(w, h-len(top))...)
}

// working tells how far the quantization is, and draws the loss of the training
// in work; nothing if there is no quantization.
func (p *modelPage) working(w, h int) []string {
	s := p.a.s
	m := s.model
	if s.job.name != "quantizing" || m.working == "" && len(m.losses) == 0 {
		return nil
	}
	text := fmt.Sprintf(" %d of %d matrices", len(m.report.Modules), m.total)
	if m.rate > 0 {
		text += fmt.Sprintf(" · %s weights/s", term.Count(int64(m.rate)))
	}
	if s.job.left >= 0 && s.job.share > 0 {
		text += fmt.Sprintf(" · %s left", term.Duration(s.job.left))
	}
	lines := chart.Fit([]string{p.a.th.Accent.Render(text)}, w, 1)
	n := len(m.trained)
	if n == 0 {
		return lines
	}
	t := m.trained[n-1]
	text = fmt.Sprintf(" %s, iteration %d/%d: loss %.3g, was %.3g (%s)", trainingName(t), t.Iteration, t.Iterations, t.Loss, t.Before, term.Percent(t.Loss/t.Before-1))
	lines = append(lines, chart.Fit([]string{text}, w, 1)...)
	if h >= 20 {
		scale := chart.ScaleFor(m.losses...)
		lines = append(lines, chart.Curve(" loss by iteration"+scale.Note(), []chart.Series{{Values: scale.All(m.losses)}}, w, min(10, h/3),
			scale.Format(func(v float64) string { return fmt.Sprintf("%.2g", v) }))...)
	}
	return lines
}

// table lists the matrices with their scheme and what is lost: of their outputs
// where inputs were measured, then beside that of plain rounding, else of their
// weights. Once all are done the most damaged come first.
func (p *modelPage) table(w, h int) []string {
	m := p.a.s.model
	done := make(map[string]quant.ModuleReport)
	worst := 0.0
	for _, r := range m.report.Modules {
		done[r.Module] = r
		worst = max(worst, r.Damage())
	}
	modules, order := m.modules, "in order"
	at := slices.IndexFunc(modules, func(x model.Module) bool { return x.Name == m.working })
	if at >= 0 && !p.follows {
		p.follows, p.followed = true, p.list.at
	}
	if p.follows && p.list.at == p.followed { // the user does not look elsewhere
		p.list.at = max(0, at) // the worst, when it is done
		p.followed = p.list.at
	}
	p.follows = at >= 0
	if m.report.SizeBytes > 0 && m.working == "" && !p.inOrder {
		order = "worst first"
		modules = slices.Clone(modules)
		slices.SortStableFunc(modules, func(a, b model.Module) int { return cmp.Compare(done[b.Name].Damage(), done[a.Name].Damage()) })
	}
	rows := make([]string, 0, len(modules))
	for _, mod := range modules {
		rows = append(rows, moduleRow(p.a.th, mod, done[mod.Name], cmp.Or(m.stored[mod.Name], m.dtype), mod.Name == m.working, worst, w))
	}
	head := fmt.Sprintf(" %-16s %13s %-28s %8s %8s", "matrix", "shape", "stored as", "rounded", "lost")
	if w < shortTable {
		head = fmt.Sprintf(" %-14s %-20s %7s %7s", "matrix", "stored as", "rounded", "lost")
	}
	if w >= barless { // there are bars
		head += "  " + order
	}
	return p.list.view(p.a.th, head, rows, w, h)
}

// The widths below which the table leaves out the shapes, and the bars, too.
const (
	shortTable = 82
	barless    = 62
)

// moduleRow is a matrix's line; before is how the checkpoint holds it, worst the
// largest damage, which has the longest bar.
func moduleRow(th theme.Theme, m model.Module, r quant.ModuleReport, before string, working bool, worst float64, w int) string {
	stored, lost, rounded, bar := before, "", "", ""
	switch {
	case working:
		stored, lost = "in work", "●"
	case r.Spec != "" && r.Spec != quant.Keep.String():
		stored, lost = term.CleanLine(r.Spec), fmt.Sprintf("%.2f %%", 100*r.Damage())
		if r.OutErrRTN > 0 {
			rounded = fmt.Sprintf("%.2f %%", 100*r.OutErrRTN)
		}
		if worst > 0 && !math.IsNaN(r.Damage()) {
			bar = th.Damage(r.Damage() / worst).Render(widget.Bar(r.Damage()/worst, 10))
		}
	}
	if w < barless {
		bar = ""
	}
	if w < shortTable {
		return fmt.Sprintf(" %-14s %s %7s %7s  %s", chart.Fit([]string{m.Label()}, 14, 1)[0], chart.Fit([]string{stored}, 20, 1)[0], rounded, lost, bar)
	}
	return fmt.Sprintf(" %-16s %13s %-28s %8s %8s  %s", chart.Fit([]string{m.Label()}, 16, 1)[0], fmt.Sprintf("%d x %d", m.Rows, m.Cols), stored, rounded, lost, bar)
}
