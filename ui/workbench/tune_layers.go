package workbench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"nibble/model"
	"nibble/quant"
	"nibble/tune"
	"nibble/ui/chart"
	"nibble/ui/term"
	"nibble/ui/widget"
)

// matrix is what a trial does to one matrix.
type matrix struct {
	model.Module
	spec   quant.Spec
	bytes  int64   // 0 if unknown
	damage float64 // the KL divergence that it adds; NaN if unknown
	why    string
}

// storage lists what a trial does to every matrix, in the order of the model.
// Without a trial the damage is the worst that was measured so far.
func (p *tunePage) storage(t *tune.Trial) []matrix {
	s := p.a.s
	var specs []quant.Spec
	reasons := map[string]tune.Choice{}
	if t != nil {
		specs = s.planOf(*t).specs
		if s.tune.explained.Trial == t.ID {
			for _, c := range s.tune.explained.Choices {
				reasons[c.Matrix] = c
			}
		}
	}
	out := make([]matrix, 0, len(s.model.modules))
	for i, mod := range s.model.modules {
		m := matrix{Module: mod, spec: quant.Keep, damage: math.NaN()}
		scores := s.tune.scores[mod.Name]
		if t == nil {
			for _, x := range scores {
				m.damage = x.KLD
				break
			}
			for _, x := range scores {
				m.damage = max(m.damage, x.KLD)
			}
			out = append(out, m)
			continue
		}
		m.spec = specs[i]
		if x, ok := scores[m.spec.String()]; ok {
			m.bytes, m.damage = x.Bytes, x.KLD
		} else if m.spec.Kept() {
			m.damage = 0
		}
		if c, ok := reasons[mod.Name]; ok {
			m.bytes, m.damage, m.why = c.Bytes, c.KLD, c.Why
		}
		out = append(out, m)
	}
	return out
}

// stripLabel is the room for the names of the strip's lines.
const stripLabel = 8

// strip draws the layers side by side: their bits in digits and the damage in
// bars. Neighbours share a column where there are more layers than room.
func (p *tunePage) strip(t *tune.Trial, w int) []string {
	th := p.a.th
	all := p.storage(t)
	if len(all) == 0 || w < stripLabel+10 {
		return nil
	}
	var columns [][]matrix // of a layer each; the matrices outside have their own
	var names []string
	for _, m := range all {
		name := m.Kind
		if m.Layer >= 0 {
			name = fmt.Sprint(m.Layer)
		}
		if n := len(names); n == 0 || names[n-1] != name {
			columns, names = append(columns, nil), append(names, name)
		}
		columns[len(columns)-1] = append(columns[len(columns)-1], m)
	}
	room := w - stripLabel - 1
	per := (len(columns) + room - 1) / room
	var merged [][]matrix
	var heads []string
	for i := 0; i < len(columns); i += per {
		merged, heads = append(merged, slices.Concat(columns[i:min(len(columns), i+per)]...)), append(heads, names[i])
	}
	width := min(6, room/len(merged))
	damage, worst := make([]float64, len(merged)), 0.0
	for i, ms := range merged {
		damage[i] = math.NaN() // while none of them is known
		for _, m := range ms {
			if !math.IsNaN(m.damage) {
				if math.IsNaN(damage[i]) {
					damage[i] = 0
				}
				damage[i] += m.damage
			}
		}
		if damage[i] > worst {
			worst = damage[i]
		}
	}
	var layers, bits, bars strings.Builder
	free := 0 // column from which there is room for a number
	for i, ms := range merged {
		if at := i * width; at >= free && at+len(heads[i]) <= room {
			layers.WriteString(strings.Repeat(" ", at-layers.Len()) + heads[i])
			free = at + len(heads[i]) + 1
		}
		fmt.Fprintf(&bits, "%-*s", width, bitsText(ms, t != nil, width))
		bar := strings.Repeat(damageMark(damage[i], worst), max(1, width-1))
		bar = th.Damage(damage[i] / worst).Render(bar)
		bars.WriteString(bar + strings.Repeat(" ", width-max(1, width-1)))
	}
	title := "worst spec of each layer so far"
	if t != nil {
		title = fmt.Sprintf("layers of trial %d", t.ID)
	}
	label := func(name string) string { return th.Dim.Render(fmt.Sprintf(" %-*s", stripLabel, name)) }
	return chart.Fit([]string{
		" " + th.Dim.Render(fmt.Sprintf("%s: bits%s, and damage up to a KL divergence of %.2g", title, bitsLegend(width), worst)),
		label("layer") + layers.String(), label("bits") + bits.String(), label("damage") + bars.String()}, w, 4)
}

// bitsText is the mean bits of a code over matrices, in as many characters as
// fit.
func bitsText(ms []matrix, known bool, width int) string {
	if !known {
		return "-"
	}
	sum, n := 0.0, 0.0
	for _, m := range ms {
		size := float64(m.Rows) * float64(m.Cols)
		sum, n = sum+size*(float64(m.spec.Bits)+4*float64(m.spec.Top)/100), n+size
	}
	mean := sum / max(n, 1)
	switch {
	case width >= 5:
		return term.Digits(mean)
	case width >= 3:
		return fmt.Sprintf("%.0f", mean)
	case mean > 9.5:
		return "F"
	}
	return fmt.Sprintf("%.0f", mean)
}

func bitsLegend(width int) string {
	if width >= 3 {
		return ""
	}
	return " (F: over 9)"
}

// damageMark is a bar of eight heights.
func damageMark(v, worst float64) string {
	switch {
	case math.IsNaN(v):
		return "?"
	case v <= 0 || worst <= 0:
		return "·"
	}
	return string([]rune("▁▂▃▄▅▆▇█")[min(7, int(8*v/worst))])
}

// reasons lists the matrices, and under them in words why the selected one is
// stored as it is.
func (p *tunePage) reasons(t *tune.Trial, w, h int) []string {
	all := p.storage(t)
	if p.worst {
		slices.SortStableFunc(all, func(a, b matrix) int { return cmp.Compare(b.damage, a.damage) })
	}
	total, most := 0.0, 0.0
	for _, m := range all {
		if m.damage > 0 {
			total, most = total+m.damage, max(most, m.damage)
		}
	}
	var rows []string
	for _, m := range all {
		spec, size, damage, share := "—", "—", "—", ""
		if t != nil {
			spec = m.spec.String()
		}
		if m.bytes > 0 {
			size = term.Bytes(m.bytes)
		}
		if !math.IsNaN(m.damage) {
			damage = fmt.Sprintf("%.6f", m.damage)
			if total > 0 && m.damage > 0 {
				share = fmt.Sprintf("%5.1f %% %s", 100*m.damage/total, p.a.th.Damage(m.damage/most).Render(widget.Bar(m.damage/total, 20)))
			}
		}
		rows = append(rows, fmt.Sprintf(" %-16s %-25s %9s %10s  %s", m.Label(), spec, size, damage, share))
	}
	order := "place"
	if p.worst {
		order = "damage"
	}
	head := fmt.Sprintf(" %-16s %-25s %9s %10s  share, by %s", "matrix", "stored as", "size", "KLD", order)
	var why []string
	if p.matrices.at < len(all) {
		m := all[p.matrices.at]
		text := m.why
		switch {
		case text != "":
		case t == nil:
			text = "a recipe is chosen when every spec has been measured"
		case p.a.s.tune.explained.Trial > 0:
			text = fmt.Sprintf("reasons are given for the best trial, %d", p.a.s.tune.explained.Trial)
		default:
			text = "reasons are given when the search has ended"
		}
		for line := range strings.SplitSeq(ansi.Wordwrap(m.Label()+": "+text, max(10, w-3), ""), "\n") {
			why = append(why, "  "+p.a.th.Accent.Render(line))
		}
	}
	room := min(len(why), h/2)
	return append(p.matrices.view(p.a.th, head, rows, w, h-room), chart.Fit(why, w, room)...)
}
