package plan

import (
	"fmt"
	"slices"

	"nibble/model"
	"nibble/quant/calib"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/recipe"
)

const (
	keptBeyond = "kept as stored: F16 scales do not reach the size of its weights"
	coarseNote = "of %d rows have weights too small for F16 scales and lose more than others, or all"
)

// CoarseNotes tells of such rows of all matrices that were quantized; lines are
// those of ms.
func CoarseNotes(ms []pass.PlannedModule, lines []pass.ModuleReport) []string {
	var all pass.Notes
	for i, line := range lines {
		if line.Coarse > 0 {
			all.Add(line.Module, fmt.Sprintf("%d "+coarseNote, line.Coarse, ms[i].Module.Rows))
		}
	}
	return all.Lines()
}

// SilentNotes tells of such inputs of all matrices that were quantized; lines are
// those of ms.
func SilentNotes(ms []pass.PlannedModule, lines []pass.ModuleReport) []string {
	var all pass.Notes
	var some []string
	silent, inputs := 0, 0
	for i, line := range lines {
		switch cols := ms[i].Module.Cols; line.Silent {
		case 0:
		case cols:
			all.Add(line.Module, pass.SilentNote(cols, cols))
		default:
			some = append(some, line.Module)
			silent, inputs = silent+line.Silent, inputs+cols
		}
	}
	out := all.Lines()
	if len(some) > 0 {
		out = append(out, pass.Naming(some)+": "+pass.SilentNote(silent, inputs))
	}
	return out
}

// fewTokens tells of matrices whose inputs a calibration cannot tell apart.
func (p Plan) fewTokens(tokens int) []string {
	n, most := 0, 0
	for _, m := range p.Modules {
		if m.Measures() && m.Module.Cols > tokens {
			n, most = n+1, max(most, m.Module.Cols)
		}
	}
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d matrices have more inputs, up to %d, than the calibration has tokens, %d: their inputs count for less; more or longer --samples lose less", n, most, tokens)}
}

// substitutions says where what is done differs from the letter of the recipe.
func substitutions(r recipe.Recipe, c model.Config) []string {
	var of pass.Notes
	planned, whole := method.PlanAll(r, c)
	for i, m := range c.Modules() {
		spec := r.For(m)
		if slices.Contains(r.Raised(), m.Name) {
			of.Add(m.Name, fmt.Sprintf("more than %.0f %% of the model: stored with 8 bits; name it in a rule to store it otherwise", 100*recipe.LargeShare))
		}
		if spec.Kept() {
			if m.Layer < 0 && !r.Default.Kept() && !r.Names(m) {
				of.Add(m.Name, "kept as stored; name it in a rule to quantize it")
			}
			continue
		}
		if note := planned[i].Note; note != "" {
			of.Add(m.Name, note)
		}
		if width := spec.Scheme().GroupWidth(m.Cols); m.Cols%width != 0 {
			of.Add(m.Name, fmt.Sprintf("%d columns are no multiple of %d: the last group of a row has %d", m.Cols, width, m.Cols%width))
		}
	}
	out := of.Lines()
	if asked := method.AsksWhole(r, c); asked != nil && whole == nil {
		out = append(out, asked.Needs.Whole.TooLarge)
	}
	if c.Tied {
		for _, rule := range r.Rules {
			if rule.Tied(c) {
				out = append(out, fmt.Sprintf("%s is the same matrix as %s, which decides: the rule for it does nothing", recipe.OutputHead, c.Embed.Path))
			}
		}
	}
	return out
}

// methodNotes tells what methods cannot do for matrices, and notes it with these.
func methodNotes(c model.Config, ms []pass.PlannedModule) []string {
	var all pass.Notes
	for _, s := range pass.Stages(c, ms) {
		for _, how := range s.Methods() {
			if how.Notes == nil {
				continue
			}
			found := how.Notes(c, s)
			for _, m := range s.Modules {
				note, ok := found[m.Module.Name]
				if !ok {
					continue
				}
				i := slices.IndexFunc(ms, func(pm pass.PlannedModule) bool { return pm.Module.Name == m.Module.Name })
				ms[i].Note = note
				all.Add(m.Module.Name, note)
			}
		}
	}
	return all.Lines()
}

// topNotes tells of rows with 8 bits whose tokens the calibration does not have.
func topNotes(ms []pass.PlannedModule, c *calib.Calibration) []string {
	var of pass.Notes
	for _, m := range ms {
		if m.Spec.Top == 0 {
			continue
		}
		used := 0
		for _, n := range calib.TokenCounts(c.Tokens, m.Module.Rows) {
			if n > 0 {
				used++
			}
		}
		if n := m.Spec.Scheme().TopCount(m.Module.Rows); n > used {
			of.Add(m.Module.Name, fmt.Sprintf("the calibration has %d of the %d tokens that get 8 bits; the others are the vocabulary's first", used, n))
		}
	}
	return of.Lines()
}
