package workbench

import (
	"fmt"
	"math"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"nibble/kernels"
	"nibble/ui/chart"
	"nibble/ui/term"
	"nibble/ui/widget"
)

// kernelsPage shows the machine and what was chosen for it.
type kernelsPage struct {
	a      *app
	list   list
	curved bool // on a narrow screen, show the curve instead of the candidates
}

func newKernelsPage(a *app) *kernelsPage { return &kernelsPage{a: a} }

func (p *kernelsPage) name() string           { return "Kernels" }
func (p *kernelsPage) typing() bool           { return false }
func (p *kernelsPage) key(tea.KeyMsg) tea.Cmd { return nil }

func (p *kernelsPage) bindings() []binding {
	return append([]binding{
		{[]string{"m"}, "m", "measure: all candidates again", true, func() tea.Cmd { p.a.e.measureKernels(); return nil }},
		{[]string{"c"}, "c", "curve: the selected matrix at batches of 1 to 512 tokens", true, func() tea.Cmd { p.curve(); return nil }},
		{[]string{"f"}, "f", "force: the next kernel for every product, or none, and measure decoding", true, func() tea.Cmd { p.a.e.force(p.nextForced()); return nil }},
	}, p.list.bindings()...)
}

// nextForced cycles through the kernels and back to the measured choice.
func (p *kernelsPage) nextForced() string {
	k := p.a.s.kernel
	names := append([]string{""}, k.kernels...)
	return names[(slices.Index(names, k.forced)+1)%len(names)]
}

// selected is the choice under the cursor.
func (p *kernelsPage) selected() (kernels.Choice, bool) {
	choices := p.a.s.kernel.choices
	if p.list.at >= len(choices) {
		return kernels.Choice{}, false
	}
	return choices[p.list.at], true
}

// curve measures the selected matrix, or turns to its curve and back when that
// is there.
func (p *kernelsPage) curve() {
	c, ok := p.selected()
	if !ok {
		return
	}
	if p.hasCurve(c) {
		p.curved = !p.curved
		return
	}
	p.curved = true
	p.a.e.measureCurve(c.Shape)
}

func (p *kernelsPage) hasCurve(c kernels.Choice) bool {
	curve := p.a.s.kernel.curve
	return len(curve) > 0 && curve[0].Format == c.Format && curve[0].N == c.N && curve[0].K == c.K
}

func (p *kernelsPage) view(w, h int) []string {
	k, th := p.a.s.kernel, p.a.th
	limits := "limits not measured yet"
	if k.limits.BandwidthGBs > 0 {
		limits = fmt.Sprintf("limits: %s GB/s · %s GOP/s · %s GFLOP/s", term.Digits(k.limits.BandwidthGBs), term.Digits(k.limits.PeakGOPS), term.Digits(k.limits.PeakGFLOPS))
	}
	forced := "each product uses the kernel that won its measurement"
	if k.forced != "" {
		forced = "forced: " + k.forced
	}
	head := []string{
		" " + th.Title.Render(term.CleanLine(k.cpu.Name)) + th.Dim.Render(fmt.Sprintf(" · %d cores, %d threads · %s", k.cpu.Cores, k.threads, k.isa)),
		" " + th.Dim.Render(strings.Join(k.cpu.Features, " ")),
		" " + limits + th.Dim.Render(" · "+forced),
	}
	if len(k.decode) > 0 {
		head = append(head, " "+th.Accent.Render("decode")+" "+decodeText(k.decode))
	}
	lines := chart.Fit(head, w, len(head))
	detail := 0
	if len(k.choices) > 0 && h > 14 {
		detail = max(min(10, h/2-2), h/3, min(16, h-len(lines)-len(k.choices)-2))
	}
	lines = append(lines, p.a.pane("Products and the kernels that were chosen", true, w, h-len(lines)-detail, p.table)...)
	if detail == 0 {
		return lines
	}
	const both = 110 // columns that fit candidates and curve
	switch c, _ := p.selected(); {
	case w >= both && p.hasCurve(c):
		left := w / 2
		lines = append(lines, chart.Beside(p.a.framed(false, left, detail, p.candidates), p.a.framed(false, w-left, detail, p.plot))...)
	case p.curved && p.hasCurve(c):
		lines = append(lines, p.a.framed(false, w, detail, p.plot)...)
	default:
		lines = append(lines, p.a.framed(false, w, detail, p.candidates)...)
	}
	return lines
}

// decodeText tells the last decode speed, and how it compares with the one
// before.
func decodeText(speeds []decodeSpeed) string {
	now := speeds[len(speeds)-1]
	text := fmt.Sprintf("%s tokens/s with %s", term.Digits(now.tps), kernelName(now.kernel))
	if len(speeds) < 2 {
		return text
	}
	before := speeds[len(speeds)-2]
	return fmt.Sprintf("%s, %.2fx of %s tokens/s with %s", text, now.tps/before.tps, term.Digits(before.tps), kernelName(before.kernel))
}

// plot draws the throughput of the selected matrix over the batch size: the best
// kernel of each instruction set, on all threads and, where it was tried, on one.
func (p *kernelsPage) plot(w, h int) []string {
	curve := p.a.s.kernel.curve
	var names, ticks []string
	series := map[string][]float64{}
	for i, c := range curve {
		ticks = append(ticks, fmt.Sprint(c.M))
		for _, m := range c.Candidates {
			name := string(m.ISA)
			if m.Workers == 1 && c.Threads > 1 {
				name += " alone"
			}
			if series[name] == nil {
				series[name] = slices.Repeat([]float64{math.NaN()}, len(curve))
				names = append(names, name)
			}
			if v := &series[name][i]; m.OK && m.GOPS > 0 && !(*v >= m.GOPS) {
				*v = m.GOPS
			}
		}
	}
	lines := make([][]float64, len(names))
	for i, name := range names {
		lines[i] = series[name]
	}
	return chart.Curves(p.a.th.Dim.Render(" GOP/s by batch"), names, lines, p.a.th.GraphColor, ticks, w, h, func(v float64) string { return fmt.Sprintf("%.0f", v) })
}

func (p *kernelsPage) table(w, h int) []string {
	const wide = 100 // columns that fit the reasons too
	name, why := 21, ""
	if w >= wide {
		name, why = 29, "  why"
	}
	head := fmt.Sprintf("  %-13s %12s %4s  %-*s %7s %6s %8s%s", "format", "N x K", "M", name, "chosen", "GOP/s", "GB/s", "µs", why)
	var rows []string
	for _, c := range p.a.s.kernel.choices {
		m := c.Candidates[0]
		row := fmt.Sprintf("  %-13s %12s %4d  %s %7.1f %6.1f %8.1f", c.Format, fmt.Sprintf("%d x %d", c.N, c.K), c.M, chart.Fit([]string{"► " + m.String()}, name, 1)[0], m.GOPS, m.GBs, m.NS/1e3)
		if w >= wide {
			row += "  " + after(c.Reason)
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		rows = []string{"  no quantized product has been measured yet"}
	}
	return p.list.view(p.a.th, head, rows, w, h)
}

// after drops the kernel's name from a reason.
func after(reason string) string {
	if _, rest, ok := strings.Cut(reason, ": "); ok {
		return rest
	}
	return reason
}

// candidates draws the selected shape's candidates as bars of speed.
func (p *kernelsPage) candidates(w, h int) []string {
	c, ok := p.selected()
	if !ok {
		return chart.Fit(nil, w, h)
	}
	lines := []string{
		p.a.th.Dim.Render(fmt.Sprintf(" candidates for %s, %d x %d, M=%d; ✓ equals the reference", c.Format, c.N, c.K, c.M)),
		" " + p.a.th.Accent.Render("why") + " " + term.CleanLine(c.Reason),
	}
	best := c.Candidates[0].GOPS
	for i, m := range c.Candidates {
		if left := len(c.Candidates) - i; left > 1 && len(lines) == h-1 {
			lines = append(lines, p.a.th.Dim.Render(fmt.Sprintf("   … and %d slower ones", left)))
			break
		}
		lines = append(lines, candidateBar(m, i == 0, best, w))
	}
	return chart.Fit(lines, w, h)
}

func candidateBar(m kernels.Measurement, chosen bool, best float64, w int) string {
	mark, check := " ", "✓"
	if chosen {
		mark = "►"
	}
	if !m.OK {
		return fmt.Sprintf("   %s ✗ %s", m, term.CleanLine(m.Note))
	}
	room := max(0, w-48)
	bar := widget.Bar(m.GOPS/max(best, 1e-9), room)
	return fmt.Sprintf(" %s %-27s %7.1f GOP/s  %s %-*s", mark, m, m.GOPS, check, room, bar)
}
