package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nibble/model/output"
	"nibble/quant"
	"nibble/tune"
	"nibble/ui/job"
	"nibble/ui/term"
)

func (a *app) tuneCmd() *cobra.Command {
	var r job.Tune
	var resume bool
	cmd := &cobra.Command{
		Use: "tune MODEL -o DIR", Short: "search for the smallest recipe within an accuracy goal and save the model", Args: args(1, 1),
		Long: `tune measures what every spec loses for each matrix, solves for the recipes
worth trying, and measures those. With --goal it looks for the smallest recipe whose
perplexity is within the goal; with limits alone (--bpw, --size, --min-tps,
--max-rss) for the most accurate one within them; with neither, the goal is 1%.

Scores are kept: another goal for the same model starts from them. A run that was
interrupted goes on where it stopped when the same command is given again.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Model = args[0]
			if r.Out == "" {
				return usagef("tune needs an output directory: -o DIR")
			}
			return a.tune(cmd.Context(), r, resume)
		},
	}
	addText(cmd, &r.Text, &r.Ctx, &r.Chunks)
	addCalibration(cmd, &r.Calibration)
	cmd.Flags().StringVarP(&r.Out, "output", "o", "", "directory to write; must not exist or be empty")
	cmd.Flags().StringVar(&r.Goal, "goal", "", "largest increase of perplexity over the float model (default 1%, or none with --bpw, --size, --min-tps or --max-rss)")
	cmd.Flags().Var(parsed[float64]{&r.BPW, "number", term.ParsePositive}, "bpw", "most bits per weight, over everything stored")
	cmd.Flags().StringVar(&r.Size, "size", "", "largest weights file, in bytes or as 500MB")
	cmd.Flags().Var(parsed[float64]{&r.MinTPS, "number", term.ParsePositive}, "min-tps", "least speed of decoding on this machine, in tokens a second, as predicted from the kernels' measurements")
	cmd.Flags().StringVar(&r.MaxRSS, "max-rss", "", "most memory to run in, in bytes or as 2GB")
	cmd.Flags().StringVar(&r.Specs, "specs", "", fmt.Sprintf("specs that a matrix may be stored by, with commas between (default %q)", tune.DefaultSpecs))
	cmd.Flags().BoolVar(&r.Fused, "fused", false, "store q, k and v of a layer alike, and gate and up")
	cmd.Flags().Var(parsed[time.Duration]{&r.Budget, "duration", term.ParseDuration}, "budget", "wall-clock time, loading and saving included, as 10m (default: until the search is done)")
	cmd.Flags().Var(atLeast{&r.Trials, 1}, "trials", "most trials (default: until the search is done)")
	cmd.Flags().BoolVar(&resume, "resume", false, "go on with an earlier run of the same options; an error if there is none")
	return cmd
}

// parsePercent reads --goal.
func parsePercent(s string) (float64, error) {
	v, err := term.ParsePercent(s)
	if err != nil {
		return 0, usagef("--goal %w", err)
	}
	return v, nil
}

func (a *app) tune(ctx context.Context, r job.Tune, resume bool) error {
	begun := time.Now()
	if _, err := r.Limits(); err != nil {
		return usagef("%w", err)
	}
	var at *output.Claim
	var err error
	if r.Out != "" { // else the trials alone are wanted
		if at, err = quant.Claim(r.Out, r.Model); err != nil {
			return err
		}
		defer at.Release()
	}
	l, err := a.load(ctx, r.Model)
	if err != nil {
		return err
	}
	defer l.close()
	if err := job.NeedTokenizer(l.ck); err != nil {
		return err
	}
	o, err := r.For(l.ck)
	if err != nil {
		return err
	}
	for _, n := range r.Notes(o) {
		a.note("%s", n)
	}
	o.Started, o.Base, o.Claim, o.Runs, o.Resume = begun, l.m, at, job.RunsDir(), resume
	o.CacheDir, o.Eval.CacheDir = job.CacheDir(), job.CacheDir()
	res, err := tune.Run(ctx, o, func(e tune.Event) {
		switch e := e.(type) {
		case tune.RunOpened:
			if e.Resumed {
				a.note("going on with run %s, which has the same options", e.ID)
			}
			a.owner.Hint("what was measured is kept: " + job.ResumeHint(e.ID))
		case tune.Noted:
			a.note("%s", e.Text)
		}
		a.report.event(e)
	})
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, tune.ErrOptions) {
			return usagef("%w", err)
		}
		return err
	}
	a.owner.Hint("the best so far was saved to " + res.Path)
	full := tuneResult{Result: res}
	if res.Path != "" {
		full.OpensIn = opensIn(res.Path)
	}
	a.report.result(full, func(w io.Writer) { tuneText(w, full) })
	return nil
}

// tuneResult adds which programs open what was saved.
type tuneResult struct {
	tune.Result
	OpensIn string `json:"opens_in,omitempty"`
}

func tuneText(w io.Writer, r tuneResult) {
	fmt.Fprintf(w, "\n%-12s %d in %s, ended by: %s\n", "trials", len(r.Trials), term.Seconds(r.Seconds), r.StoppedBy)
	fmt.Fprintln(w, "front        (smallest first; ★ is the one saved; speeds are predicted from the kernels' measurements)")
	for _, p := range r.Front {
		mark := " "
		if p.Trial == r.Best.ID {
			mark = "★"
		}
		fmt.Fprintf(w, "  %s trial %-3d %9s %6.3f bpw  loss %9s  %s tokens/s  %s\n", mark, p.Trial, term.Bytes(p.SizeBytes), p.BPW, term.Percent(p.Loss), term.Digits(p.DecodeTPS), term.CleanLine(short(p.Recipe)))
	}
	b := r.Best
	if r.Goal > 0 || !r.Reached {
		fmt.Fprintf(w, "%-12s %s: %s\n", "goal", job.GoalText(r.Goal), term.CleanLine(job.VerdictText(r.Result)))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "%-12s %s\n", "note", term.CleanLine(n))
	}
	if b.State == tune.Untested {
		fmt.Fprintf(w, "%-12s not measured; expected: %s over the float model's perplexity of %.4f, KL divergence %.5f\n", "best", term.Percent(b.Loss()), r.BasePPL, b.KLD)
	} else {
		fmt.Fprintf(w, "%-12s perplexity %s, %s over the float model's %s, KL divergence %.5f ± %.5f\n", "best", term.Fixed("%.4f", b.PPL), term.PercentSE(b.Loss(), b.PPLRatioSE), term.Fixed("%.4f", r.BasePPL), b.KLD, b.KLDSE)
	}
	fmt.Fprintf(w, "%-12s %s, %.3f bits per weight\n", "size", term.Bytes(b.SizeBytes), b.BPW)
	if r.Path != "" {
		fmt.Fprintf(w, "%-12s %s\n", "saved", term.CleanLine(r.Path))
		fmt.Fprintf(w, "%-12s %s\n", "opens in", term.CleanLine(r.OpensIn))
	}
}

// short cuts a recipe's list of rules.
func short(recipe string) string {
	parts := strings.Split(recipe, "; ")
	if len(parts) <= 2 {
		return recipe
	}
	return fmt.Sprintf("%s; %s; and %d more", parts[0], parts[1], len(parts)-2)
}

// runsResult lists runs.
type runsResult struct {
	Runs []runSummary `json:"runs"`
}

type runSummary struct {
	tune.Record
	Dir    string      `json:"dir"`
	Trials int         `json:"trials"`
	Best   *tune.Trial `json:"best"`
}

func (a *app) runsCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "runs", Short: "past tuning runs", Args: args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			records, err := tune.Runs(job.RunsDir())
			if err != nil {
				return err
			}
			res := runsResult{Runs: []runSummary{}}
			for _, r := range records {
				res.Runs = append(res.Runs, summarizeRun(r))
			}
			a.report.result(res, func(w io.Writer) { runsText(w, res) })
			return nil
		},
	}
	var why bool
	show := &cobra.Command{
		Use: "show ID", Short: "the trials of a run", Args: args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := runDir(args[0])
			if err != nil {
				return err
			}
			r, err := tune.LoadRun(dir)
			if err != nil {
				return err
			}
			best := tune.Best(r.Trials)
			a.report.result(map[string]any{"run": r, "trials": r.Trials, "front": tune.Front(r.Trials), "best": best}, func(w io.Writer) {
				fmt.Fprintf(w, "model        %s\ngoal         %s\nstarted      %s\n", term.CleanLine(r.Model), job.GoalText(r.Goal), r.Started.Format(time.DateTime))
				if r.Out != "" {
					fmt.Fprintf(w, "output       %s\n", term.CleanLine(r.Out))
				}
				fmt.Fprintf(w, "ended by     %s\n", job.EndedText(r))
				for _, t := range r.Trials {
					fmt.Fprintln(w, trialLine(t))
				}
				if best != nil {
					fmt.Fprintf(w, "best         trial %d, %s: %s\n", best.ID, best.Verdict(r.Goal).Word, term.CleanLine(best.Recipe.String()))
				}
				if why {
					whyText(w, r.Choices)
				}
			})
			return nil
		},
	}
	resumed := ""
	resume := &cobra.Command{
		Use: "resume ID", Short: "go on with a run where it stopped", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := runDir(args[0])
			if err != nil {
				return err
			}
			run, err := tune.LoadRun(dir)
			if err != nil {
				return err
			}
			r, err := job.Asked(run)
			if err != nil {
				return err
			}
			r.Out = cmp.Or(resumed, r.Out)
			return a.tune(cmd.Context(), r, true)
		},
	}
	resume.Flags().StringVarP(&resumed, "output", "o", "", "directory to write, instead of the one that was asked for, or none")
	show.Flags().BoolVar(&why, "why", false, "also why every matrix of the best is stored as it is")
	cmd.AddCommand(show, resume, &cobra.Command{
		Use: "delete ID", Short: "remove a run's record", Args: args(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := runDir(args[0]); err != nil {
				return err
			}
			if err := tune.DeleteRun(job.RunsDir(), args[0]); err != nil {
				return err
			}
			a.report.result(map[string]string{"deleted": args[0]}, func(w io.Writer) { fmt.Fprintf(w, "deleted      %s\n", term.CleanLine(args[0])) })
			return nil
		},
	})
	return cmd
}

// whyText prints the choices of a run.
func whyText(w io.Writer, choices []tune.Choice) {
	if len(choices) == 0 {
		fmt.Fprintln(w, "why          known when the run has ended: 'nibble runs resume ID' goes on with it")
	}
	for _, c := range choices {
		fmt.Fprintf(w, "%s  %s\n    %s\n", term.CleanLine(c.Matrix), term.CleanLine(c.Spec), term.CleanLine(c.Why))
	}
}

// runDir resolves a run's id to its directory.
func runDir(id string) (string, error) {
	dir := filepath.Join(job.RunsDir(), id)
	if filepath.Base(id) != id || strings.HasPrefix(id, ".") {
		return "", usagef("%q is no run's id; 'nibble runs' lists them", id)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("there is no run %s; 'nibble runs' lists them", id)
	}
	return dir, nil
}

func summarizeRun(r tune.Record) runSummary {
	return runSummary{Record: r, Dir: filepath.Join(job.RunsDir(), r.ID), Trials: len(r.Trials), Best: tune.Best(r.Trials)}
}

func runsText(w io.Writer, res runsResult) {
	if len(res.Runs) == 0 {
		fmt.Fprintln(w, "no runs yet: 'nibble tune demo -o DIR' makes one")
		return
	}
	fmt.Fprintf(w, "%-36s %-10s %-7s %-7s %-11s %s\n", "id", "goal", "trials", "state", "ended by", "best")
	for _, r := range res.Runs {
		ended, best := r.StoppedBy, "none"
		switch {
		case r.State == tune.Live || r.State == tune.Damaged:
			ended = "-"
		case ended == "":
			ended = "killed"
		}
		if r.Best != nil {
			best = fmt.Sprintf("%.3f bpw, loss %s, %s", r.Best.BPW, term.PercentSE(r.Best.Loss(), r.Best.PPLRatioSE), r.Best.Verdict(r.Goal).Word)
		}
		fmt.Fprintf(w, "%-36s %-10s %7d %-7s %-11s %s\n", term.CleanLine(r.ID), job.GoalText(r.Goal), r.Trials, r.State, term.CleanLine(ended), best)
	}
}
