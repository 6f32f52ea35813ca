package workbench

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"nibble/ui/chart"
	"nibble/ui/term"
	"nibble/ui/widget"
)

// screens reports whether the search is on its way to its first trial: there is
// nothing to draw yet but what is being measured.
func (p *tunePage) screens() bool {
	t := p.a.s.tune
	return t.running && len(t.trials) == 0 && t.current == nil
}

// screening draws what is being measured before the first trial, and what the
// matrices lose as far as that is known.
func (p *tunePage) screening(w, h int) []string {
	text := p.screeningText(w)
	text = chart.Fit(text, w, min(len(text), h))
	return append(text, p.losses(w, h-len(text))...)
}

// screeningText is what is being measured, how fast and for how long still.
func (p *tunePage) screeningText(w int) []string {
	s, th := p.a.s, p.a.th
	x := s.tune.screen
	line := func(label, text string) string { return "   " + th.Dim.Render(fmt.Sprintf("%-9s ", label)) + text }
	if x.total == 0 || x.done == x.total {
		return []string{" before the first trial", line("measures", term.CleanLine(s.job.detail)), ""}
	}
	what := "what its outputs lose, by each spec"
	if x.spec != "" {
		what = "what the model loses with " + term.CleanLine(x.spec)
	}
	pace := fmt.Sprintf("%d of %d specs of matrices", x.done, x.total)
	if x.rate > 0 {
		pace += ", " + term.Digits(x.rate) + " a second"
	}
	if s.job.left >= 0 {
		pace += ", " + term.Duration(s.job.left) + " left"
	}
	return []string{" screening, before the first trial", line("measures", ending(shortName(x.module), w-50)+": "+what), line("done", pace), ""}
}

// lossWidth is a column of the list of losses.
const lossWidth = 58

// losses lists the matrices that are measured, the worst first: what the model
// loses by the best and by the worst spec for each.
func (p *tunePage) losses(w, h int) []string {
	s, th := p.a.s, p.a.th
	type loss struct {
		label       string
		specs       int
		least, most float64
	}
	var all []loss
	for _, m := range s.model.modules {
		x := loss{label: matrix{Module: m}.Label(), specs: len(s.tune.scores[m.Name]), least: math.Inf(1)}
		for _, score := range s.tune.scores[m.Name] {
			x.least, x.most = min(x.least, score.KLD), max(x.most, score.KLD)
		}
		if x.specs > 0 {
			all = append(all, x)
		}
	}
	if len(all) == 0 || h < 2 {
		return chart.Fit(nil, w, max(0, h))
	}
	slices.SortStableFunc(all, func(a, b loss) int { return cmp.Compare(b.most, a.most) })
	var rows []string
	for _, x := range all {
		row := fmt.Sprintf(" %s %5d %8.5f %8.5f ", chart.Fit([]string{x.label}, 16, 1)[0], x.specs, x.least, x.most)
		if bar := min(w, lossWidth) - len(row) - 1; bar > 0 && all[0].most > 0 {
			row += th.Damage(x.most / all[0].most).Render(widget.Bar(x.most/all[0].most, bar))
		}
		rows = append(rows, row)
	}
	columns := max(1, w/lossWidth)
	if more := len(rows) - columns*(h-1); more > 0 {
		rows = append(rows[:columns*(h-1)-1], th.Dim.Render(fmt.Sprintf("   and %d that lose less", more+1)))
	}
	head := th.Dim.Render(fmt.Sprintf(" %-16s %5s %8s %8s", "KL divergence", "specs", "least", "most"))
	var blocks [][]string
	for part := range slices.Chunk(rows, h-1) {
		blocks = append(blocks, chart.Fit(append([]string{head}, part...), w/columns, h))
	}
	return chart.Fit(chart.Beside(blocks...), w, h)
}
