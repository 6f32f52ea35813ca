package cli

import (
	"fmt"
	"strings"

	"nibble/eval"
	"nibble/eval/report"
	"nibble/ui/term"
)

// escaper keeps text from being taken for Markdown or HTML.
var escaper = func() *strings.Replacer {
	var pairs []string
	for _, c := range "\\`*_{}[]<>()#|~&!$" {
		pairs = append(pairs, string(c), "\\"+string(c))
	}
	return strings.NewReplacer(pairs...)
}()

// md makes foreign text one line of Markdown that shows it as it is.
func md(s string) string { return escaper.Replace(term.OneLine(s)) }

// code is a text in a code span, with a fence that the text does not hold.
func code(s string) string {
	s = term.OneLine(s)
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	return fence + " " + s + " " + fence
}

// document is Markdown in the making.
type document struct{ strings.Builder }

func (d *document) line(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

// row is a line of a table; its cells are Markdown already.
func (d *document) row(cells ...string) { d.line("| %s |", strings.Join(cells, " | ")) }

func (d *document) head(cells ...string) {
	d.row(cells...)
	d.line("|%s", strings.Repeat(" --- |", len(cells)))
}

// markdown is a report for people.
func markdown(r report.Report) string {
	d := &document{}
	d.line("# Evaluation of %s\n", md(r.Model))
	d.line("**%s**\n", md(r.Sentence()))
	if len(r.Advice)+len(r.Remarks)+len(r.Notes) > 0 {
		d.line("## What to do\n")
		for _, a := range r.Advice {
			d.line("- %s. The model would take %s, %.3f bpw:\n", md(a.Text), term.Bytes(a.SizeBytes), a.BPW)
			d.line("      nibble quantize %s -o DIR --recipe %q\n", term.OneLine(r.Base), term.OneLine(a.Recipe))
		}
		for _, n := range append(append([]string(nil), r.Remarks...), r.Notes...) {
			d.line("- Note: %s", md(n))
		}
		d.line("")
	}
	d.figures(r)
	d.tasks(r.Tasks)
	if r.Damage != nil {
		d.damage(r.Damage)
	}
	d.tokens(r.WorstTokens)
	d.continuations(r.Continuations)
	d.provenance(r)
	return d.String()
}

func (d *document) figures(r report.Report) {
	d.line("## Figures\n")
	d.head("", "value", "standard error")
	figure := func(name, verb, unit string, v, se float64) {
		if unit != "" {
			v, se = 100*v, 100*se
		}
		d.row(name, term.Fixed(verb, v)+unit, term.Fixed(strings.ReplaceAll(verb, "+", ""), se)+unit)
	}
	figure("perplexity", "%.4f", "", r.PPL, r.PPLSE)
	d.row("size", term.Bytes(r.SizeBytes), "")
	d.row("bits per weight", fmt.Sprintf("%.3f", r.BPW), "")
	if c := r.Comparison; c != nil {
		figure("perplexity of the base", "%.4f", "", c.BasePPL, c.BasePPLSE)
		figure("perplexity over the base", "%+.3f", " %", c.PPLRatio-1, c.PPLRatioSE)
		figure("KL divergence, mean (nats)", "%.5f", "", c.KLDMean, c.KLDSE)
		for _, p := range []struct {
			name string
			v    float64
		}{{"median", c.KLDMedian}, {"90 %", c.KLDP90}, {"95 %", c.KLDP95}, {"99 %", c.KLDP99}, {"99.9 %", c.KLDP999}, {"maximum", c.KLDMax}} {
			d.row("KL divergence, "+p.name, fmt.Sprintf("%.5f", p.v), "")
		}
		figure("same top token", "%.2f", " %", c.SameTop, c.SameTopSE)
		figure("Δp, root mean square", "%.3f", " %", c.RMSDP, c.RMSDPSE)
		figure("Δp, mean", "%+.3f", " %", c.DPMean, c.DPMeanSE)
	}
	d.line("")
}

func (d *document) tasks(tasks []eval.TaskResult) {
	if len(tasks) == 0 {
		return
	}
	d.line("## Tasks\n")
	d.head("task", "n", "accuracy", "per character", "base", "worse", "better", "p (McNemar)")
	for _, t := range tasks {
		cells := []string{md(t.Name), fmt.Sprint(t.N), fmt.Sprintf("%.1f ± %.1f %%", 100*t.Acc, 100*t.AccSE), fmt.Sprintf("%.1f ± %.1f %%", 100*t.AccNorm, 100*t.AccNormSE), "", "", "", ""}
		if c := t.TaskComparison; c != nil {
			copy(cells[4:], []string{fmt.Sprintf("%.1f %%", 100*c.BaseAcc), fmt.Sprint(c.Worse), fmt.Sprint(c.Better), fmt.Sprintf("%.3f", c.PValue)})
		}
		d.row(cells...)
	}
	d.line("")
}

func (d *document) damage(x *eval.Damage) {
	d.line("## Worst layers\n")
	d.line("Each part alone in the base model, on %d windows (%d tokens scored). The whole model: KL divergence %.5f ± %.5f; the sum of the parts: %.5f.", x.Windows, x.Tokens, x.KLD, x.KLDSE, x.Sum)
	d.line("The error of hidden states is the whole model's, after the part, relative to their length.\n")
	d.head("part", "KL divergence", "share", "error after it", "of it added", "the matrix that does most")
	for _, p := range x.Worst(len(x.Parts)) {
		most := ""
		best := 0.0
		for _, m := range p.Matrices {
			if m.Share > best {
				best, most = m.Share, fmt.Sprintf("%s, %.1f %%", md(m.Module[strings.LastIndex(m.Module, ".")+1:]), 100*m.Share)
			}
		}
		d.row(md(p.Name), fmt.Sprintf("%.5f ± %.5f", p.KLD, p.KLDSE), fmt.Sprintf("%.1f %%", 100*p.Share), fmt.Sprintf("%.2f %%", 100*p.Err), fmt.Sprintf("%+.2f %%", 100*p.Added), most)
	}
	for _, n := range x.Notes {
		d.line("\n%s", md(n))
	}
	d.line("")
}

func (d *document) tokens(tokens []eval.WorstToken) {
	if len(tokens) == 0 {
		return
	}
	d.line("## Worst tokens\n")
	d.head("KL divergence", "text before", "token", "model finds it", "base finds it", "model says", "base says")
	for _, t := range tokens {
		d.row(fmt.Sprintf("%.4f", t.KLD), "…"+md(t.Context), md(t.Token.Text), fmt.Sprintf("%.1f %%", 100*t.Token.P), fmt.Sprintf("%.1f %%", 100*t.Token.BaseP),
			md(guessesText(t.Says, func(g eval.Guess) float64 { return g.P })), md(guessesText(t.BaseSays, func(g eval.Guess) float64 { return g.BaseP })))
	}
	d.line("")
}

func (d *document) continuations(list []eval.Continuation) {
	if len(list) == 0 {
		return
	}
	d.line("## Continuations\n")
	d.line("Both models continue the text, each time with the token they find likeliest; ▸ marks where they part.\n")
	for i, c := range list {
		d.line("%d. %s", i+1, code(c.Prompt))
		if c.Part == nil {
			d.line("   - both: %s\n", md(c.Same))
			continue
		}
		d.line("   - base: %s **▸** %s", md(c.Same), md(c.BaseSays))
		d.line("   - model: %s **▸** %s", md(c.Same), md(c.Says))
		s, b := c.Part.Says, c.Part.BaseSays
		d.line("   - after %d tokens: the model finds %s likeliest with %.1f %% (the base %.1f %%), the base %s with %.1f %% (the model %.1f %%)\n",
			c.SameTokens, code(s.Text), 100*s.P, 100*s.BaseP, code(b.Text), 100*b.BaseP, 100*b.P)
	}
}

func (d *document) provenance(r report.Report) {
	d.line("## Provenance\n")
	d.head("", "")
	d.row("model", fmt.Sprintf("%s, SHA-256 %s", md(r.Model), r.ModelSHA256))
	d.row("base", fmt.Sprintf("%s, SHA-256 %s", md(r.Base), r.BaseSHA256))
	if r.Recipe != "" {
		d.row("recipe", md(r.Recipe))
	}
	if c := r.Calibration; c != nil {
		d.row("calibration", fmt.Sprintf("%s, %d samples of %d tokens, seed %d, SHA-256 %s", md(c.Name), c.Samples, c.Length, c.Seed, md(c.SHA256)))
		for _, n := range c.Notes {
			d.row("", md(n))
		}
	}
	d.row("text", fmt.Sprintf("%s, SHA-256 %s", md(r.Text), r.TextSHA256))
	d.row("windows", fmt.Sprintf("%d of the text's %d, of %d tokens, the second half scored: %d tokens", r.Windows, r.WindowsInText, r.Ctx, r.Tokens))
	d.row("goal", fmt.Sprintf("%+.2f %% of the perplexity", 100*r.Goal))
	d.row("nibble", fmt.Sprintf("%s, %s", md(r.Nibble), md(r.ISA)))
}
