package cli

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"nibble/eval"
	"nibble/eval/report"
	"nibble/quant"
	"nibble/ui/job"
	"nibble/ui/term"
)

// addText adds the flags that choose what is measured on.
func addText(cmd *cobra.Command, text *string, ctx, chunks *int) {
	cmd.Flags().StringVar(text, "text", "", "text or JSON texts to measure perplexity on; - is standard input (default: built-in prose; stories for the demo model)")
	*ctx = eval.DefaultCtx
	cmd.Flags().Var(atLeast{ctx, 4}, "ctx", "tokens of a window")
	cmd.Flags().Var(atLeast{chunks, 0}, "chunks", "windows to score (default: all)")
}

// evalResult is the result of 'nibble eval'.
type evalResult struct {
	Model      string `json:"model"`
	Base       string `json:"base,omitempty"`
	Text       string `json:"text"`
	TextSHA256 string `json:"text_sha256"`
	*eval.Verdict
	eval.Result
}

func (a *app) evalCmd() *cobra.Command {
	var e job.Evaluate
	var base, goal, dir string
	cmd := &cobra.Command{
		Use: "eval MODEL", Short: "measure perplexity, KL divergence against a base model, and tasks", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if e.Goal, err = parsePercent(goal); err != nil {
				return err
			}
			return a.eval(cmd.Context(), args[0], base, dir, e)
		},
	}
	addText(cmd, &e.Text, &e.Ctx, &e.Chunks)
	cmd.Flags().BoolVar(&a.refresh, "refresh", false, "compute the base model's answers and this machine's figures again instead of recalling them")
	cmd.Flags().StringVar(&goal, "goal", "1%", "increase of perplexity that the verdict is about")
	cmd.Flags().StringVar(&base, "base", "", "float model to compare with")
	cmd.Flags().StringVar(&dir, "report", "", "directory to write report.json and report.md to: worst layers, worst tokens, continuations, advice; needs --base")
	cmd.Flags().StringArrayVar(&e.Tasks, "task", nil, `file or directory of multiple-choice questions, JSON lines; "demo" is the demo's own; may be given again`)
	return cmd
}

func (a *app) eval(ctx context.Context, ref, base, dir string, e job.Evaluate) error {
	if dir != "" {
		if base == "" {
			return usagef("--report compares with a float model: give --base MODEL")
		}
		if err := checkReportDir(dir); err != nil {
			return err
		}
	}
	l, err := a.load(ctx, ref)
	if err != nil {
		return err
	}
	defer l.close()
	if err := job.NeedTokenizer(l.ck); err != nil {
		return err
	}
	o, err := e.For(l.ck, job.CacheDir(), a.in)
	if err != nil {
		return err
	}
	o.Refresh = a.refresh
	a.tell(job.TextNotes(e.Text, l.ck, o))
	listen := func(e eval.Event) { a.report.event(e) }
	o.Worst = worstShown
	if dir != "" {
		o.Worst = report.DefaultWorst
	}
	var reference *eval.Reference
	var b *loaded
	if base != "" {
		if b, err = a.load(ctx, base); err != nil {
			return err
		}
		defer b.close()
		if err := job.Comparable(l.ck, b.ck); err != nil {
			return err
		}
		if reference, err = eval.NewReference(ctx, b.m, o, listen); err != nil {
			return err
		}
		defer reference.Close()
	}
	res, err := eval.Run(ctx, l.m, reference, o, listen, nil)
	if err != nil {
		return err
	}
	var made *quant.Report // nil for a model that nibble did not make
	if r, err := quant.ReadReport(l.ck.Path); err == nil {
		made = &r
	}
	if note := job.SeenNote(made, o.Text); note != "" {
		res.Notes = append(slices.Clone(res.Notes), note)
	}
	for i, t := range res.WorstTokens {
		res.WorstTokens[i] = t.Clean(term.Clean)
	}
	if dir != "" {
		ro := report.Options{Subject: report.SubjectOf(l.ck), Base: b.ck, Running: l.m, Reference: reference, Result: res, Goal: e.Goal, Quantized: made, Version: thisBuild().Version, Clean: term.Clean}
		r, err := report.Run(ctx, ro, listen)
		if err != nil {
			return err
		}
		written := writeReport(dir, r)
		if written != nil {
			dir = ""
		}
		a.report.result(reportResult{r, dir}, func(w io.Writer) {
			evalText(w, evalResult{ref, base, o.Text.Name, o.Text.SHA256, &r.Verdict, res})
			reportText(w, r, dir)
		})
		return written // what was measured is said in any case
	}
	full := evalResult{Model: ref, Base: base, Text: o.Text.Name, TextSHA256: o.Text.SHA256, Result: res}
	if v := res.Verdict(e.Goal); res.Compared() {
		full.Verdict = &v
	}
	a.report.result(full, func(w io.Writer) { evalText(w, full) })
	return nil
}

func evalText(w io.Writer, r evalResult) {
	line := func(label, format string, args ...any) {
		fmt.Fprintf(w, "%-16s %s\n", label, term.CleanLine(fmt.Sprintf(format, args...)))
	}
	line("model", "%s", r.Model)
	line("text", "%s, %d tokens scored, %d of its %d windows of %d", r.Text, r.Tokens, r.Windows, r.WindowsInText, r.Ctx)
	line("perplexity", "%s", term.Measured(r.PPL, r.PPLSE))
	if r.Compared() {
		line("base", "%s, perplexity %s", r.Base, term.Measured(r.BasePPL, r.BasePPLSE))
		line("difference", "%s ± %s", term.Fixed("%+.4f", r.PPLDiff), term.Fixed("%.4f", r.PPLDiffSE))
		line("ratio", "%s (%s), its logarithm %.5f ± %.5f", term.Measured(r.PPLRatio, r.PPLRatioSE), term.Percent(r.PPLRatio-1), r.LnPPLRatio, r.LnPPLRatioSE)
		line("KL divergence", "mean %.5f ± %.5f", r.KLDMean, r.KLDSE)
		line("same top token", "%.2f ± %.2f %%", 100*r.SameTop, 100*r.SameTopSE)
		line("Δp", "RMS %.3f ± %.3f %%, mean %+.3f ± %.3f %%", 100*r.RMSDP, 100*r.RMSDPSE, 100*r.DPMean, 100*r.DPMeanSE)
		percentilesText(w, r.Comparison)
		fmt.Fprintf(w, "\n%s\n", r.Sentence())
		worstText(w, r.WorstTokens)
	}
	for _, note := range r.Notes {
		line("note", "%s", note)
	}
	if len(r.Tasks) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%-16s %5s  %-16s %-16s", "task", "n", "accuracy", "per character")
	if r.Tasks[0].TaskComparison != nil {
		fmt.Fprintf(w, " %8s %6s %6s %8s", "base", "worse", "better", "p")
	}
	fmt.Fprintln(w)
	for _, t := range r.Tasks {
		fmt.Fprintf(w, "%-16s %5d  %5.1f ± %-4.1f %%   %5.1f ± %-4.1f %%  ", term.CleanLine(t.Name), t.N, 100*t.Acc, 100*t.AccSE, 100*t.AccNorm, 100*t.AccNormSE)
		if c := t.TaskComparison; c != nil {
			fmt.Fprintf(w, " %6.1f %% %6d %6d %8.3f", 100*c.BaseAcc, c.Worse, c.Better, c.PValue)
		}
		fmt.Fprintln(w)
	}
}

// percentilesText prints how KL divergence and Δp are spread over the tokens.
func percentilesText(w io.Writer, c *eval.Comparison) {
	row := func(label, format string, scale float64, values ...float64) {
		fmt.Fprintf(w, "%-16s", label)
		for _, v := range values {
			fmt.Fprintf(w, format, scale*v)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\n%-16s%9s%9s%9s%9s%9s%9s%9s%9s%9s%9s%9s\n", "percentile", "max", "99.9", "99", "95", "90", "median", "10", "5", "1", "0.1", "min")
	row("KL divergence", "%9.5f", 1, c.KLDMax, c.KLDP999, c.KLDP99, c.KLDP95, c.KLDP90, c.KLDMedian, c.KLDP10, c.KLDP5, c.KLDP1, c.KLDP001, c.KLDMin)
	row("Δp %", "%+9.3f", 100, c.DPMax, c.DPP999, c.DPP99, c.DPP95, c.DPP90, c.DPMedian, c.DPP10, c.DPP5, c.DPP1, c.DPP001, c.DPMin)
}
