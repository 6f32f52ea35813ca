package workbench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"nibble/tune"
	"nibble/ui/chart"
	"nibble/ui/term"
)

// tunePage shows the search: curves, front, trials, and what became of the
// layers. One trial is selected; every part of the page shows it.
type tunePage struct {
	a         *app
	form      tuneForm
	chosen    int // ID of the selected trial; 0 follows the best
	sort      int // in tuneSorts
	filter    filter
	onlyFront bool // hide trials that others beat in size and loss
	layers    bool // show the layers instead of the trials
	trials    list
	matrices  list
	worst     bool // matrices sorted by damage
}

// tuneSorts are the orders of the trial table.
var tuneSorts = []struct {
	name string
	less func(a, b tune.Trial) int
}{
	{"trial", func(a, b tune.Trial) int { return cmp.Compare(a.ID, b.ID) }},
	{"size", func(a, b tune.Trial) int { return cmp.Compare(a.SizeBytes, b.SizeBytes) }},
	{"loss", func(a, b tune.Trial) int { return cmp.Compare(a.Loss(), b.Loss()) }},
	{"KLD", func(a, b tune.Trial) int { return cmp.Compare(a.KLD, b.KLD) }},
	{"speed", func(a, b tune.Trial) int { return cmp.Compare(b.DecodeTPS, a.DecodeTPS) }},
}

func newTunePage(a *app) *tunePage { return &tunePage{a: a, form: newTuneForm()} }

func (p *tunePage) name() string { return "Tune" }
func (p *tunePage) typing() bool { return p.filter.open || p.form.open }

func (p *tunePage) key(msg tea.KeyMsg) tea.Cmd {
	if p.form.open {
		p.form.key(msg)
	}
	p.filter.key(msg)
	return nil
}

func (p *tunePage) bindings() []binding {
	do := func(f func()) func() tea.Cmd { return func() tea.Cmd { f(); return nil } }
	switch {
	case p.form.open:
		return append([]binding{{[]string{"enter"}, "enter", "tune: search as the form says", true, do(p.start)}}, p.form.bindings(func() { p.form.tell(p.a.s) })...)
	case p.filter.open:
		return p.filter.bindings()
	}
	started, running := p.a.s.tune.started, p.a.s.tune.running
	bs := []binding{
		{[]string{"u", "enter"}, "u enter", "use: make the selected recipe the INT4 model", started, do(p.use)},
		{[]string{"w"}, "w", "write: quantize by the selected recipe into a directory", started, do(p.write)},
		{[]string{"v"}, "v", "layers: bits, damage and reasons, or back to the trials", started, do(func() { p.layers = !p.layers })},
		{[]string{"o"}, "o", "options: goal, limits, time and texts of the search that t starts", !running, do(func() { p.form.open = true })},
		{[]string{"p"}, "p", "pause: hold the search, or let it go on", running, do(p.a.e.pause)},
		{[]string{"/"}, "/", "filter: trials that have all the words; a ! before a word: that have it not", started, do(func() { p.layers, p.filter.open = false, true })},
		{[]string{"s"}, "s", "sort: trials by trial, size, loss, KLD or speed; matrices by place or damage", started, do(func() {
			if p.layers {
				p.worst = !p.worst
			} else {
				p.sort = (p.sort + 1) % len(tuneSorts)
			}
		})},
		{[]string{"d"}, "d", "dominated: hide trials that others beat in size and loss, or show them", false, do(func() { p.onlyFront = !p.onlyFront })},
		{[]string{"left", "h"}, "← h", "the next smaller point of the front", false, do(func() { p.walk(-1) })},
		{[]string{"right", "l"}, "→ l", "the next larger point of the front", false, do(func() { p.walk(1) })},
		{[]string{"esc"}, "esc", "back: drop the filter, leave the layers, follow the best trial", false, do(p.back)},
	}
	if p.layers {
		return append(bs, p.matrices.bindings()...)
	}
	for _, b := range p.trials.bindings() {
		move := b.do
		b.do = func() tea.Cmd {
			rows := p.rows()
			if p.trials.at = p.cursor(rows); len(rows) == 0 {
				return nil
			}
			cmd := move()
			p.chosen = rows[min(p.trials.at, len(rows)-1)].ID
			return cmd
		}
		bs = append(bs, b)
	}
	return bs
}

// back takes one step out.
func (p *tunePage) back() {
	switch {
	case p.filter.text != "":
		p.filter.text = ""
	case p.layers:
		p.layers = false
	default:
		p.chosen = 0
	}
}

// use makes the selected recipe the INT4 model.
func (p *tunePage) use() {
	t := p.selected()
	switch {
	case t == nil:
	case t.State == tune.Running || t.State == tune.Failed:
		p.a.s.say(fmt.Sprintf("trial %d is %s: choose another", t.ID, t.State))
	default:
		p.a.e.use(*t)
	}
}

// write takes the selected recipe to where it is quantized into a directory.
func (p *tunePage) write() {
	if t := p.selected(); t != nil {
		p.a.model.order.calib.value = p.form.calib.value // which it was measured with
		p.a.write(t.Recipe)
	}
}

// rows are the trials that pass the filter in the chosen order, the running one
// last.
func (p *tunePage) rows() []tune.Trial {
	t := p.a.s.tune
	var rows []tune.Trial
	for _, x := range t.trials {
		if p.onlyFront && !onFront(t.front, x.ID) || p.filter.text != "" && !p.filter.passes(fmt.Sprint(x.ID, " ", x.State, " ", x.Phase, " ", p.a.s.planOf(x).text, " ", x.Note)) {
			continue
		}
		rows = append(rows, x)
	}
	slices.SortStableFunc(rows, tuneSorts[p.sort].less)
	if c := t.current; c != nil && t.running && p.filter.text == "" {
		x := *c
		x.PPLRatio, x.PPLRatioSE, x.KLD = t.progress.PPLRatio, t.progress.PPLRatioSE, t.progress.KLD
		rows = append(rows, x)
	}
	return rows
}

func onFront(front []tune.Point, id int) bool {
	return slices.ContainsFunc(front, func(f tune.Point) bool { return f.Trial == id })
}

// cursor is the row of the selected trial.
func (p *tunePage) cursor(rows []tune.Trial) int {
	id := p.chosen
	if best := p.a.s.tune.best; id == 0 && best != nil {
		id = best.ID
	}
	return max(0, slices.IndexFunc(rows, func(x tune.Trial) bool { return x.ID == id }))
}

func (p *tunePage) selected() *tune.Trial {
	rows := p.rows()
	if len(rows) == 0 {
		return nil
	}
	return &rows[p.cursor(rows)]
}

// walk selects the next visible point of the front.
func (p *tunePage) walk(by int) {
	sel := p.selected()
	if sel == nil {
		return
	}
	rows := p.rows()
	front := slices.DeleteFunc(slices.Clone(p.a.s.tune.front), func(f tune.Point) bool {
		return !slices.ContainsFunc(rows, func(x tune.Trial) bool { return x.ID == f.Trial })
	})
	if by < 0 {
		slices.Reverse(front)
	}
	for _, f := range front {
		if f.Trial != sel.ID && (f.SizeBytes > sel.SizeBytes) == (by > 0) {
			p.chosen = f.Trial
			return
		}
	}
}

// panes3 is the width from which on a third pane explains what is selected.
const panes3 = 170

// The heights of a body that fits everything, and that fits graphs over trials.
const (
	roomy = 30
	low   = 16
)

func (p *tunePage) view(w, h int) []string {
	if p.form.open || !p.a.s.tune.started {
		return chart.Fit(p.options(w), w, h)
	}
	lines := p.header(w)
	if p.screens() && !p.layers {
		strip := p.strip(nil, w)
		return append(append(lines, p.screening(w, h-len(lines)-len(strip))...), strip...)
	}
	if h >= roomy || h >= low && !p.layers {
		lines = append(lines, p.graphs(w, max(7, min(16, (h-len(lines))*2/5)))...)
	}
	sel := p.selected()
	if sel != nil {
		lines = append(lines, chart.Fit(p.about(*sel), w, 2)...)
	}
	if h >= roomy || p.layers || sel == nil {
		lines = append(lines, p.strip(sel, w)...)
	}
	if p.layers {
		return append(lines, p.reasons(sel, w, h-len(lines))...)
	}
	h -= len(lines)
	if w < panes3 || !p.a.roomy() {
		return append(lines, p.a.pane("Trials", true, w, h, p.table)...)
	}
	left := w - w*2/5
	return append(lines, chart.Beside(p.a.pane("Trials", true, left, h, p.table), p.a.pane("Matrices of the selected trial, and why", false, w-left, h, func(w, h int) []string {
		return p.reasons(sel, w, h)
	}))...)
}

func (p *tunePage) header(w int) []string {
	t, th := p.a.s.tune, p.a.th
	best := "best —"
	if b := t.best; b != nil {
		best = fmt.Sprintf("best trial %d: %s, %.3f bpw, %s", b.ID, term.Bytes(b.SizeBytes), b.BPW, lossText(*b))
		verdict := b.Verdict(t.goal)
		if t.result != nil {
			verdict = t.result.Verdict
		}
		if t.goal > 0 {
			best += fmt.Sprintf(", %s %s", verdictMarks[verdict.Word], verdict.Word)
		}
	}
	phase, outcome := t.phase, []string(nil)
	switch {
	case t.running && p.a.s.job.paused:
		phase = "‖ PAUSED, p goes on"
	case !t.running && t.result != nil:
		phase = "ended: " + t.result.StoppedBy
		for _, text := range []string{t.result.Decide, t.result.Advice} {
			if text != "" {
				outcome = append(outcome, term.CleanLine(text))
			}
		}
		if t.result.Path != "" {
			outcome = append(outcome, "saved to "+term.CleanLine(t.result.Path))
		}
	case !t.running:
		phase = "ended"
	}
	goal := "the most accurate"
	if t.goal > 0 {
		goal = fmt.Sprintf("goal +%.2f %%", 100*t.goal)
	}
	if t.limits != "" {
		goal += ", " + t.limits
	}
	if t.basePPL > 0 {
		goal += fmt.Sprintf(" · perplexity of the float model %.4f", t.basePPL)
	}
	lines := []string{
		" " + th.Title.Render(best),
		" " + th.Dim.Render(fmt.Sprintf("%s · %d trials · %s", goal, len(t.trials), phase)),
	}
	if len(outcome) > 0 {
		lines = append(lines, wrapped(strings.Join(outcome, " · "), w, 2)...)
	}
	return chart.Fit(lines, w, len(lines))
}

// lossText is a trial's loss with its standard error.
func lossText(t tune.Trial) string {
	if !hasLoss(t) {
		return "—"
	}
	return term.PercentSE(t.Loss(), t.PPLRatioSE)
}

// kldText tells a trial's divergence.
func kldText(t tune.Trial) string {
	if !hasLoss(t) {
		return "—"
	}
	return fmt.Sprintf("%.5f", t.KLD)
}

// hasLoss reports whether anything of a trial was measured.
func hasLoss(t tune.Trial) bool { return t.PPLRatio > 0 && t.State != tune.Failed }

// about tells the selected trial's recipe and figures, each with what was
// predicted.
func (p *tunePage) about(t tune.Trial) []string {
	th := p.a.th
	predicted := func(format string, v func(tune.Prediction) float64) string {
		if t.Predicted == nil || v(*t.Predicted) == 0 {
			return ""
		}
		return th.Dim.Render(fmt.Sprintf(" (predicted "+format+")", v(*t.Predicted)))
	}
	figures := []string{fmt.Sprintf("%s, %.3f bpw", term.Bytes(t.SizeBytes), t.BPW),
		"loss " + lossText(t) + predicted("%+.2f", func(x tune.Prediction) float64 { return 100 * x.Loss }),
		"KLD " + kldText(t) + predicted("%.5f", func(x tune.Prediction) float64 { return x.KLD })}
	if t.DecodeTPS > 0 {
		figures = append(figures, term.Digits(t.DecodeTPS)+" tokens/s"+predicted("%.0f", func(x tune.Prediction) float64 { return x.DecodeTPS }))
	}
	if t.Note != "" {
		figures = append(figures, term.CleanLine(t.Note))
	}
	return []string{
		" " + th.Accent.Render(fmt.Sprintf("trial %d", t.ID)) + ": " + p.a.s.planOf(t).text,
		"   " + strings.Join(figures, " · ")}
}

// lossScale is how losses are drawn.
func (p *tunePage) lossScale() chart.Scale {
	t := p.a.s.tune
	losses := []float64{100 * t.goal}
	for _, x := range t.trials {
		if hasLoss(x) {
			losses = append(losses, 100*x.Loss())
		}
	}
	if t.goal == 0 {
		losses = losses[1:]
	}
	return chart.ScaleFor(losses...)
}

func (p *tunePage) graphs(w, h int) []string {
	scale := p.lossScale()
	percent := scale.Format(func(v float64) string { return fmt.Sprintf("%.2f%%", v) })
	bytes := func(v float64) string { return term.Bytes(int64(v)) }
	var loss, size, goal, wantLoss, wantSize []float64
	t := p.a.s.tune
	for _, x := range t.trials {
		l, b, wl, wb := math.NaN(), float64(x.SizeBytes), math.NaN(), math.NaN()
		if hasLoss(x) {
			l = scale.At(100 * x.Loss())
		}
		if x.Predicted != nil {
			wl, wb = scale.At(100*x.Predicted.Loss), float64(x.Predicted.SizeBytes)
		}
		loss, size, goal, wantLoss, wantSize = append(loss, l), append(size, b), append(goal, scale.At(100*t.goal)), append(wantLoss, wl), append(wantSize, wb)
	}
	color := p.a.th.GraphColor
	losses := []chart.Series{{Name: "predicted", Mark: "·", Values: wantLoss, Color: color(5)}, {Values: loss, Color: color(0)}, {Name: "best so far", Mark: "▔", Values: bestSoFar(loss, t.trials), Color: color(2)}}
	if t.goal > 0 {
		losses = append([]chart.Series{{Name: "goal", Mark: "╌", Values: goal, Color: color(4)}}, losses...)
	}
	sizes := []chart.Series{{Name: "predicted", Mark: "·", Values: wantSize, Color: color(5)}, {Values: size, Color: color(0)}}
	curve := func(title string, series []chart.Series, w int, format func(float64) string) []string {
		return p.a.framed(false, w, h, func(w, h int) []string { return chart.Curve(title, series, w, h, format) })
	}
	front := func(w int) []string {
		return p.a.framed(false, w, h, func(w, h int) []string { return p.scatter(scale, percent, w, h) })
	}
	if w < 100 {
		half := w / 2
		return chart.Beside(curve(" loss per trial"+scale.Note(), losses, half, percent), front(w-half))
	}
	third := w / 3
	return chart.Beside(front(w-2*third), curve(" loss per trial"+scale.Note(), losses, third, percent), curve(" size per trial", sizes, third, bytes))
}

// bestSoFar is, after each trial, the loss of the best one until then, as drawn: the
// smallest that reached the goal, or the most accurate where there is none.
func bestSoFar(drawn []float64, trials []tune.Trial) []float64 {
	best, out := -1, make([]float64, len(drawn))
	for i, x := range trials {
		switch {
		case !hasLoss(x):
		case x.State == tune.Reached && (best < 0 || x.SizeBytes < trials[best].SizeBytes), x.State == tune.Measured && (best < 0 || x.Loss() < trials[best].Loss()):
			best = i
		}
		if out[i] = math.NaN(); best >= 0 {
			out[i] = drawn[best]
		}
	}
	return out
}

// scatter draws the trials by size and loss over the predicted front.
func (p *tunePage) scatter(scale chart.Scale, percent func(float64) string, w, h int) []string {
	t, th := p.a.s.tune, p.a.th
	title := " ● front ★ best ◉ cursor"
	if w >= 48 {
		title = " loss by size:" + title + " ⠒ predicted"
	}
	if p.onlyFront {
		title += ", dominated hidden"
	}
	s := chart.Scatter{Title: title, Level: math.NaN(), LevelStyle: &th.Bad, LineStyle: &th.Dim,
		FormatX: func(v float64) string { return term.Bytes(int64(v)) }, FormatY: percent}
	if t.goal > 0 {
		s.Level = scale.At(100 * t.goal)
	}
	for _, f := range t.predicted {
		// Without trials there is nothing to scale by but the goal.
		if len(t.trials) > 0 || t.goal == 0 || f.Loss < 5*t.goal {
			s.Line = append(s.Line, [2]float64{float64(f.SizeBytes), scale.At(100 * f.Loss)})
		}
	}
	add := func(x tune.Trial, mark rune) {
		if hasLoss(x) {
			s.Points = append(s.Points, chart.Point{X: float64(x.SizeBytes), Y: scale.At(100 * x.Loss()), Mark: mark})
		}
	}
	rows := p.rows()
	for _, x := range rows {
		if !onFront(t.front, x.ID) {
			add(x, '·')
		}
	}
	for _, x := range rows {
		if onFront(t.front, x.ID) {
			add(x, '●')
		}
	}
	if t.best != nil {
		add(*t.best, '★')
	}
	if sel := p.selected(); sel != nil {
		add(*sel, '◉')
	}
	return s.View(w, h)
}

func (p *tunePage) table(w, h int) []string {
	t := p.a.s.tune
	rows := p.rows()
	wide := w >= 100
	head := fmt.Sprintf(" %3s %-11s %9s %6s %18s %8s %9s %8s", "#", "state", "size", "bpw", "loss", "expected", "KLD", "tokens/s")
	if wide {
		head += fmt.Sprintf(" %8s  %-8s  by %s", "time", "phase", tuneSorts[p.sort].name)
	}
	var top, lines []string
	if p.filter.open || p.filter.text != "" {
		top = chart.Fit([]string{fmt.Sprintf(" /%s  [%d/%d]", term.CleanLine(p.filter.shown()), len(rows), len(t.trials))}, w, 1)
	}
	for _, x := range rows {
		lines = append(lines, trialRow(x, wide))
	}
	p.trials.at = p.cursor(rows)
	return append(top, p.trials.view(p.a.th, head, lines, w, h-len(top))...)
}

// stateMarks tell how trials ended, without colour.
var stateMarks = map[tune.State]string{tune.Running: "●", tune.Reached: "✓", tune.Undecided: "?", tune.Promising: "≈", tune.Measured: "✓", tune.Missed: "✗", tune.Stopped: "↯", tune.Failed: "!", tune.Untested: "?"}

func trialRow(t tune.Trial, wide bool) string {
	expected, tps, seconds := "—", "—", "—"
	if t.Predicted != nil {
		expected = term.Percent(t.Predicted.Loss)
	}
	if t.DecodeTPS > 0 {
		tps = term.Digits(t.DecodeTPS)
	}
	if t.Seconds > 0 {
		seconds = term.Seconds(t.Seconds)
	}
	row := fmt.Sprintf(" %3d %s %-9s %9s %6.3f %18s %8s %9s %8s", t.ID, stateMarks[t.State], t.State, term.Bytes(t.SizeBytes), t.BPW, lossText(t), expected, kldText(t), tps)
	if wide {
		row += fmt.Sprintf(" %8s  %-8s  %s", seconds, t.Phase, term.CleanLine(t.Note))
	}
	return row
}
