package workbench

import (
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"nibble/model/demo"
	"nibble/model/store"
	"nibble/ui/chart"
	"nibble/ui/term"
)

// modelsPage is where a model is chosen: what lies in the stores of this machine, and
// whether it can be opened.
type modelsPage struct {
	a       *app
	list    list
	filter  filter
	path    form
	leaving string // the model that was asked for once, while another would be lost
}

// modelsState is what was found.
type modelsState struct {
	asked bool // for the list
	known bool // it is here
	list  []store.Entry
}

func newModelsPage(a *app) *modelsPage {
	p := &modelsPage{a: a}
	p.path.fields = []*field{{label: "model", help: "a Hugging Face directory, a GGUF file, or ORG/NAME on the Hugging Face hub, which is downloaded"}}
	return p
}

func (p *modelsPage) name() string { return "Models" }
func (p *modelsPage) typing() bool { return p.filter.open || p.path.open }

func (p *modelsPage) key(msg tea.KeyMsg) tea.Cmd {
	if p.path.open {
		p.path.key(msg)
	}
	p.filter.key(msg)
	return nil
}

func (p *modelsPage) bindings() []binding {
	do := func(f func()) func() tea.Cmd { return func() tea.Cmd { f(); return nil } }
	switch {
	case p.path.open:
		return append([]binding{{[]string{"enter"}, "enter", "open: this model", true, do(p.openPath)}}, p.path.bindings(func() {})...)
	case p.filter.open:
		return p.filter.bindings()
	}
	return append([]binding{
		{[]string{"enter"}, "enter", "open: the selected model, in place of the one that is open", true, do(p.open)},
		{[]string{"o"}, "o", "other: open a model by its path or its name on the hub", true, do(func() { p.path.open = true })},
		{[]string{"/"}, "/", "filter: models that have all the words; a ! before a word: that have it not", true, do(func() { p.filter.open = true })},
		{[]string{"r"}, "r", "refresh: look again", true, do(func() { p.a.s.models.known = false; p.a.e.listModels() })},
		{[]string{"esc"}, "esc", "back: drop the filter", false, do(func() { p.filter.text = "" })},
	}, p.list.bindings()...)
}

// rows are the models that pass the filter, the built-in one first.
func (p *modelsPage) rows() []store.Entry {
	all := append([]store.Entry{{Ref: demo.Name, Store: "built in", Arch: "LlamaForCausalLM", Format: "safetensors", DType: "BF16", Opens: true}}, p.a.s.models.list...)
	var out []store.Entry
	for _, e := range all {
		if p.filter.text == "" || p.filter.passes(strings.Join([]string{e.Ref, e.Store, e.Arch, e.Format, e.DType}, " ")) {
			out = append(out, e)
		}
	}
	return out
}

func (p *modelsPage) selected() (store.Entry, bool) {
	rows := p.rows()
	if p.list.at >= len(rows) {
		return store.Entry{}, false
	}
	return rows[p.list.at], true
}

// open opens the selected model.
func (p *modelsPage) open() {
	switch e, ok := p.selected(); {
	case !ok:
	case !e.Opens:
		p.a.s.say(e.Ref + " cannot be opened: " + e.Reason)
	default:
		p.switchTo(e.Ref)
	}
}

func (p *modelsPage) openPath() {
	if ref := p.path.fields[0].path(); ref != "" {
		p.path.open = false
		p.switchTo(ref)
	}
}

func (p *modelsPage) switchTo(ref string) {
	switch lost := p.a.wouldBeLost(); {
	case p.a.e.busy() != "":
		p.a.s.say(p.a.e.busy() + " is running; wait for it or cancel it with x")
	case p.a.s.model.inMemory && p.leaving != ref:
		p.leaving = ref
		p.a.s.say(lost + "; enter again opens the other all the same")
	default:
		p.leaving = ""
		p.a.at = onModel
		p.a.e.switchTo(ref)
	}
}

func (p *modelsPage) view(w, h int) []string {
	th := p.a.th
	if p.path.open {
		return p.a.framed(true, w, h, func(w, h int) []string {
			return append([]string{" " + th.Title.Render("Open a model"), ""}, p.path.view(th, w)...)
		})
	}
	about := p.about(w - 4)
	room := min(len(about)+2, h/2)
	title := "Models on this machine"
	if !p.a.s.models.known {
		title += ": looking…"
	}
	lines := p.a.pane(title, true, w, h-room, func(w, h int) []string {
		rows := p.rows()
		var top []string
		if p.filter.open || p.filter.text != "" {
			top = chart.Fit([]string{fmt.Sprintf(" /%s  [%d/%d]", term.CleanLine(p.filter.shown()), len(rows), len(p.a.s.models.list)+1)}, w, 1)
		}
		name := max(12, w-60)
		var text []string
		for _, e := range rows {
			mark := " "
			if !e.Opens {
				mark = "✗"
			}
			size, params := "", ""
			if e.SizeBytes > 0 {
				size = term.Bytes(e.SizeBytes)
			}
			if e.Params > 0 {
				params = term.Count(e.Params)
			}
			cell := func(s string, n int) string { return chart.Fit([]string{term.CleanLine(s)}, n, 1)[0] }
			text = append(text, fmt.Sprintf(" %s %s %s %6s %9s %s %s", mark, cell(e.Ref, name), cell(e.Store, 10), params, size, cell(e.DType, 8), cell(e.Format, 12)))
		}
		head := fmt.Sprintf("   %-*s %-10s %6s %9s %-8s %-12s", name, "model", "store", "params", "size", "stored", "format")
		return append(top, p.list.view(th, head, text, w, h-len(top))...)
	})
	return append(lines, p.a.pane("The selected one", false, w, room, func(int, int) []string { return about })...)
}

// about tells of the selected model.
func (p *modelsPage) about(w int) []string {
	e, ok := p.selected()
	if !ok {
		return []string{" nothing has these words"}
	}
	lines := []string{" " + p.a.th.Title.Render(term.CleanLine(e.Ref)) + p.a.th.Dim.Render(" "+term.CleanLine(e.Arch+" "+e.Path))}
	if !e.Opens {
		return append(lines, wrapped("✗ cannot be opened: "+e.Reason, w, 3)...)
	}
	text := p.a.th.Accent.Render("enter") + " opens it in place of " + term.CleanLine(p.a.s.model.name)
	if e.Ref == p.a.s.model.ref {
		text = "this one is open"
	}
	return append(lines, " "+text)
}
