package workbench

import (
	"cmp"
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nibble/quant"
	"nibble/ui/chart"
	"nibble/ui/job"
	"nibble/ui/term"
)

// quantizeForm asks for a quantization: its fields, and under them what that
// would cost and give. What is confirmed is always what is shown.
type quantizeForm struct {
	form
	a                                   *app
	recipe, out, calib, samples, length *field
	force                               bool
	top                                 int          // first line of the plan that is shown
	asked                               job.Quantize // the last that a plan was asked for
}

func newQuantizeForm(a *app) quantizeForm {
	var names []string
	for _, r := range quant.Named() {
		names = append(names, r.Name)
	}
	f := quantizeForm{a: a,
		recipe: &field{label: "recipe", value: quant.DefaultRecipe().Name, empty: quant.DefaultRecipe().Name, choices: names,
			help: `a name, a short form ("w4 g128 sym gptq; lm_head w8") or a recipe.json`},
		out:     &field{label: "directory", empty: "none: in memory, to try it", help: "to write the INT4 model to; what is finished there survives interruptions"},
		calib:   &field{label: "calibration", empty: "a built-in text", help: "a file of text, or of JSON lines, like what the model will be used for"},
		samples: &field{label: "samples", empty: "as usual for the recipe", help: "stretches of the text that methods learn from", check: atLeast(1)},
		length:  &field{label: "length", empty: "512, or the model's context", help: "tokens of a sample", check: atLeast(2)},
	}
	f.fields = []*field{f.recipe, f.out, f.calib, f.samples, f.length}
	return f
}

// begin opens the form, with a recipe unless that is "".
func (f *quantizeForm) begin(recipe string) {
	if f.a.s.model.quantized {
		f.a.s.say("this model is quantized already: open the float model it was made from")
		return
	}
	f.open, f.at, f.force, f.recipe.value = true, 0, false, cmp.Or(recipe, f.recipe.value)
	f.a.s.plan.known, f.asked = false, job.Quantize{} // what is in the directory can have changed
	f.ask()
}

// job is what the fields say.
func (f *quantizeForm) job() job.Quantize {
	c := job.Calibration{Path: f.calib.path(), Samples: f.samples.number(), Length: f.length.number()}
	return job.Quantize{Recipe: cmp.Or(f.recipe.text(), f.recipe.empty), Out: f.out.path(), Calibration: c, Force: f.force}
}

// plan is the plan of what the fields say; nil while it is not known.
func (f *quantizeForm) plan() *planState {
	if p := &f.a.s.plan; p.known && p.order == f.job() {
		return p
	}
	return nil
}

// ask has the plan of what the fields say worked out, unless it is known. A mistake
// in the fields is told.
func (f *quantizeForm) ask() {
	f.top = 0
	if err := f.err(); err != nil {
		f.a.s.fail(err)
		return
	}
	f.a.s.say("")
	switch busy := f.a.e.busy(); {
	case f.plan() != nil:
	case busy == "":
		f.asked = f.job()
		f.a.e.plan(f.asked)
	case busy != "planning":
		f.a.s.say("this is planned when " + busy + " has ended; x cancels that")
	}
}

// settle asks for the plan that had to wait for a job.
func (f *quantizeForm) settle() {
	if f.open && f.plan() == nil && f.job() != f.asked && f.a.e.busy() == "" {
		f.ask()
	}
}

func (f *quantizeForm) bindings() []binding {
	scroll := func(by int) func() tea.Cmd { return func() tea.Cmd { f.top += by; return nil } }
	return append([]binding{
		{[]string{"enter"}, "enter", "confirm: quantize as planned; after a change: plan first", true, func() tea.Cmd { f.confirm(false); return nil }},
		{[]string{"ctrl+r"}, "ctrl+r", "restart: confirm, but forget what an interrupted run left", true, func() tea.Cmd { f.confirm(true); return nil }},
		{[]string{"ctrl+f"}, "ctrl+f", "force: begin even if memory seems too small", false, func() tea.Cmd { f.force = !f.force; f.ask(); return nil }},
		{[]string{"pgup"}, "pgup", "scroll the plan up", false, scroll(-3)},
		{[]string{"pgdown"}, "pgdn", "scroll the plan down", false, scroll(3)},
	}, f.form.bindings(f.ask)...)
}

// confirm begins the work if its plan is on the screen and nothing stands against
// it.
func (f *quantizeForm) confirm(restart bool) {
	p := f.plan()
	if p == nil || p.err != nil || f.err() != nil {
		f.ask()
		return
	}
	earlier := p.prospect.Earlier
	switch {
	case p.prospect.Refusal != nil:
		f.a.s.fail(p.prospect.Refusal)
		return
	case restart && earlier == nil:
		f.a.s.say("there is nothing to start over: enter begins")
		return
	case !restart && earlier != nil && len(earlier.Differences) > 0:
		f.a.s.say("it cannot go on with other arguments: ctrl+r starts over, or change directory")
		return
	}
	o := f.job()
	o.Restart = restart
	f.open = false
	f.a.e.quantize(o)
}

// shortForm is the height below which one field at a time leaves room for the plan.
const shortForm = 16

func (f *quantizeForm) view(w, h int) []string {
	th := f.a.th
	title, fields := "Quantize "+f.a.s.model.name, f.form.view(th, w)
	if h < shortForm {
		title += fmt.Sprintf(", field %d of %d", f.at+1, len(f.fields))
		fields = []string{fields[f.at], fields[len(f.fields)]} // with its help
	}
	lines := append([]string{" " + th.Title.Render(title)}, fields...)
	lines = append(lines, th.Dim.Render(strings.Repeat("─", w)))
	text, end := f.planText(w)
	room := max(0, h-len(lines)-len(end))
	if over := len(text) - room; over > 0 && room > 0 {
		f.top = max(0, min(f.top, over+1))
		text = append(text[f.top:min(len(text), f.top+room-1):min(len(text), f.top+room-1)], th.Dim.Render(fmt.Sprintf("   pgdn, pgup: %d lines in all", len(text))))
	} else {
		f.top = 0
	}
	lines = append(lines, chart.Fit(text, w, min(room, len(text)))...)
	return chart.Fit(append(lines, end...), w, h)
}

// planText is the plan, and what the keys would do now.
func (f *quantizeForm) planText(w int) (lines, end []string) {
	th := f.a.th
	p := f.plan()
	if p == nil {
		if f.a.s.job.name == "planning" {
			return nil, []string{" planning…"}
		}
		return nil, []string{" " + th.Accent.Render("enter") + " plans this"}
	}
	if p.err != nil {
		return nil, f.wrapped(th.Bad.Render("✗"), p.err.Error(), w)
	}
	pl := p.prospect.Plan
	line := func(label, format string, args ...any) {
		lines = append(lines, fmt.Sprintf("  %s %s", th.Dim.Render(fmt.Sprintf("%-*s", formLabel, label)), fmt.Sprintf(format, args...)))
	}
	line("size", "%s, %.3f bits per weight, from %s", term.Bytes(pl.SizeBytes), pl.BPW, term.Bytes(f.a.s.model.bytes))
	line("quantizes", "%d of %d matrices, %s weights, %s", pl.Quantized, len(pl.Modules), term.Count(pl.QuantizedParams), term.CleanLine(p.recipe.Default.String()))
	if p.order.Out != "" {
		line("disk", "%s", term.Bytes(pl.DiskBytes))
	}
	line("peak memory", "about %s, beside the model that is open", term.Bytes(pl.PeakRSSBytes))
	line("time", "about %s", term.Seconds(pl.Seconds))
	if c := p.prospect.Calibration; c != nil {
		line("calibration", "%d samples of %d tokens of %s", c.Samples, c.Length, term.CleanLine(c.Name))
	}
	for _, n := range pl.Substitutions {
		lines = append(lines, f.wrapped(th.Dim.Render("note"), n, w)...)
	}
	earlier, enter := p.prospect.Earlier, th.Accent.Render("enter")
	switch {
	case p.prospect.Refusal != nil:
		end = f.wrapped(th.Bad.Render("✗"), p.prospect.Refusal.Error(), w)
	case p.prospect.Found:
		end = []string{" It is there already, from the same request: " + enter + " uses it"}
	case earlier != nil && len(earlier.Differences) > 0:
		end = append(f.wrapped("!", "An interrupted run is there, with other arguments: its "+strings.Join(earlier.Differences, ", its "), w),
			" "+th.Accent.Render("ctrl+r")+" starts over")
	case earlier != nil:
		end = []string{fmt.Sprintf(" Interrupted with %d of %d matrices done: %s goes on, %s starts over", earlier.Done, pl.Quantized, enter, th.Accent.Render("ctrl+r"))}
	default:
		end = []string{" " + enter + " quantizes, then evaluates"}
	}
	return lines, end
}

// wrapped is foreign text in as many lines as it takes.
func (f *quantizeForm) wrapped(mark, text string, w int) []string {
	lines := strings.Split(ansi.Wrap(term.CleanLine(text), max(10, w-8), ""), "\n")
	for i, l := range lines {
		if i == 0 {
			lines[0] = "  " + mark + " " + l
		} else {
			lines[i] = strings.Repeat(" ", 3+ansi.StringWidth(mark)) + l
		}
	}
	return lines
}
