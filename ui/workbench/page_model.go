package workbench

import (
	"cmp"
	"fmt"
	"slices"

	tea "github.com/charmbracelet/bubbletea"

	"nibble/model"
	"nibble/quant"
	"nibble/ui/chart"
	"nibble/ui/term"
)

// modelPage shows what the model is and what became of its matrices.
type modelPage struct {
	a      *app
	recipe int // in quant.Named
	list   list
	damage bool // the most damaged matrices first
}

func newModelPage(a *app) *modelPage { return &modelPage{a: a} }

func (p *modelPage) name() string           { return "Model" }
func (p *modelPage) typing() bool           { return false }
func (p *modelPage) key(tea.KeyMsg) tea.Cmd { return nil }

func (p *modelPage) bindings() []binding {
	return append([]binding{
		{[]string{"r"}, "r", "recipe: choose the next one", true, func() tea.Cmd {
			p.recipe = (p.recipe + 1) % len(quant.Named())
			return nil
		}},
		{[]string{"z", "enter"}, "z", "quantize: with the chosen recipe, then evaluate", true, func() tea.Cmd {
			p.a.e.quantize(quant.Named()[p.recipe])
			return nil
		}},
		{[]string{"d"}, "d", "damage: the most damaged matrices first, or the model's order", true, func() tea.Cmd { p.damage = !p.damage; return nil }},
		{[]string{"e"}, "e", "evaluate: what the model loses, and where", true, func() tea.Cmd { p.a.e.evaluate(); p.a.at = onEvaluate; return nil }},
	}, p.list.bindings()...)
}

func (p *modelPage) view(w, h int) []string {
	left := p.about()
	right := max(w/2, w-46)
	if w < 100 {
		// One column: the facts, then as much of the table as fits.
		n := min(len(left), h/2)
		lines := chart.Fit(left, w, n)
		return append(lines, p.table(w, h-n)...)
	}
	return chart.Beside(chart.Fit(left, w-right, h), p.table(right, h))
}

func (p *modelPage) about() []string {
	m, th := p.a.s.model, p.a.th
	if !m.loaded {
		return []string{"", " loading " + term.CleanLine(m.ref) + "…"}
	}
	line := func(label, format string, args ...any) string {
		return fmt.Sprintf(" %s %s", th.dim.Render(fmt.Sprintf("%-12s", label)), fmt.Sprintf(format, args...))
	}
	c := m.config
	yes := map[bool]string{true: "yes", false: "no"}
	r := quant.Named()[p.recipe]
	lines := []string{
		line("model", "%s, %s", m.name, c.Arch),
		line("parameters", "%s in %s, %s", term.Count(m.params), m.dtype, term.Bytes(m.bytes)),
		line("shape", "%d layers, hidden %d, ffn %d, heads %d/%d", c.Layers, c.Hidden, c.Intermediate, c.Heads, c.KVHeads),
		line("context", "%d tokens, vocabulary %d", c.MaxPositions, c.VocabSize),
		line("tokenizer", "%s; template: %s", m.tokenizer, yes[m.template]),
		line("recipe", "%s  %s", th.accent.Render(r.Name), th.dim.Render(r.Default.String())),
	}
	for _, n := range m.notes {
		lines = append(lines, line("note", "%s", n))
	}
	if c := m.report.Calibration; c != nil {
		for _, n := range c.Notes {
			lines = append(lines, line("note", "%s", term.CleanLine(n)))
		}
	}
	for i := len(m.results) - 1; i >= 0 && i >= len(m.results)-4; i-- {
		e := m.results[i]
		lines = append(lines, "", line("evaluated", "%s", th.title.Render(e.what)), line("perplexity", "%.4f ± %.4f", e.PPL, e.PPLSE))
		if e.Compared() {
			lines = append(lines,
				line("vs float", "%s ± %.2f %%", term.Percent(e.PPLRatio-1), 100*e.PPLRatioSE),
				line("KLD", "%.5f ± %.5f", e.KLDMean, e.KLDSE),
				line("same top", "%.2f %%", 100*e.SameTop))
		}
	}
	return lines
}

// table lists the matrices with their scheme and error: of their outputs where
// inputs were measured, then beside that of plain rounding, else of their weights.
func (p *modelPage) table(w, h int) []string {
	m := p.a.s.model
	done := make(map[string]quant.ModuleReport)
	for _, r := range m.report.Modules {
		done[r.Module] = r
	}
	short := w < 60
	rows := make([]string, 0, len(m.modules))
	modules := m.modules
	if p.damage {
		modules = slices.Clone(modules)
		slices.SortStableFunc(modules, func(a, b model.Module) int { return cmp.Compare(done[b.Name].Damage(), done[a.Name].Damage()) })
	}
	for _, mod := range modules {
		rows = append(rows, moduleRow(mod, done[mod.Name], m.dtype, short))
	}
	head := fmt.Sprintf(" %-24s %12s %-20s %8s %9s", "matrix", "shape", "stored as", "error", "rounded")
	if short {
		head = fmt.Sprintf(" %-18s %-18s %7s", "matrix", "stored as", "error")
	}
	return p.list.view(p.a.th, head, rows, w, h)
}

func moduleRow(m model.Module, r quant.ModuleReport, dtype string, short bool) string {
	name := m.Kind
	if m.Layer >= 0 {
		name = fmt.Sprintf("layer %d %s", m.Layer, m.Kind)
	}
	stored, loss, before := dtype, "", ""
	if r.Spec != "" && r.Spec != quant.Keep.String() {
		stored, loss = r.Spec, fmt.Sprintf("%.2f %%", 100*r.Damage())
		if r.OutErrRTN > 0 {
			before = fmt.Sprintf("%.2f %%", 100*r.OutErrRTN)
		}
	}
	if short {
		return fmt.Sprintf(" %-18s %-18s %7s", name, stored, loss)
	}
	return fmt.Sprintf(" %-24s %12s %-20s %8s %9s", name, fmt.Sprintf("%d x %d", m.Rows, m.Cols), stored, loss, before)
}
