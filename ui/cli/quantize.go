package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/export"
	"nibble/quant"
	"nibble/ui/job"
	"nibble/ui/term"
)

// recipeHelp is the help of every --recipe flag.
var recipeHelp = `name (` + recipeNames() + `), short form ("w4 g128 sym mse; lm_head w8") or a recipe.json`

func recipeNames() string {
	var names []string
	for _, r := range quant.Named() {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

// calibrating names the methods that need a calibration.
func calibrating() string {
	var names []string
	for _, m := range quant.Methods() {
		if m.Calibrates() {
			names = append(names, m.Name)
		}
	}
	return strings.Join(names, ", ")
}

// samplesHelp is how many samples there are by default.
func samplesHelp() string {
	out := fmt.Sprintf("default: %d", quant.DefaultSamples)
	for _, m := range quant.Methods() {
		if m.Needs.Samples > 0 {
			out += fmt.Sprintf(", and %d for %s", m.Needs.Samples, m.Name)
		}
	}
	return out
}

// checkRecipe finds mistakes in --recipe before a model is opened.
func checkRecipe(q job.Quantize) error {
	if _, err := q.Parse(); err != nil {
		return usagef("--recipe: %w", err)
	}
	return nil
}

// quantizeOptions reads what a job names.
func (a *app) quantizeOptions(q job.Quantize, eng *kernels.Engine, ck *model.Checkpoint) (quant.Options, error) {
	o, err := q.For(eng, ck, a.in)
	if errors.Is(err, job.ErrUnused) {
		return o, usagef("--calib %w (%s)", job.ErrUnused, calibrating())
	}
	return o, err
}

func (a *app) planCmd() *cobra.Command {
	var q job.Quantize
	cmd := &cobra.Command{
		Use: "plan MODEL", Short: "what quantizing would cost and give, before any work", Args: args(1, 1),
		Long: `plan says what quantizing would cost and give. The first time on a machine it measures, for
some seconds, how fast that does each kind of work; --refresh measures again.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkRecipe(q); err != nil {
				return err
			}
			ck, err := a.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer ck.Close()
			eng, err := a.engine()
			if err != nil {
				return err
			}
			defer eng.Close()
			o, err := a.quantizeOptions(q, eng, ck)
			if err != nil {
				return err
			}
			rates, err := quant.MeasureRates(cmd.Context(), eng, job.CacheDir(), a.refresh, func(e quant.Event) { a.report.event(e) })
			if err != nil {
				return err
			}
			p, err := quant.PlanFor(ck, o.Recipe, quant.PlanOptions{Rates: rates, Calibration: o.Calibration})
			if err != nil {
				return err
			}
			a.report.result(p, func(w io.Writer) { planText(w, ck, o.Recipe, p) })
			return nil
		},
	}
	cmd.Flags().StringVar(&q.Recipe, "recipe", "", recipeHelp)
	cmd.Flags().BoolVar(&a.refresh, "refresh", false, "measure this machine again")
	addCalibration(cmd, &q.Calibration)
	return cmd
}

func planText(w io.Writer, ck *model.Checkpoint, r quant.Recipe, p quant.Plan) {
	fmt.Fprintf(w, "recipe          %s\n", term.CleanLine(r.Fitted(ck.Config).String()))
	fmt.Fprintf(w, "size            %s, %.3f bits per weight, from %s\n", term.Bytes(p.SizeBytes), p.BPW, term.Bytes(ck.Bytes()))
	fmt.Fprintf(w, "quantizes       %d of %d matrices, %s weights\n", p.Quantized, len(p.Modules), term.Count(p.QuantizedParams))
	fmt.Fprintf(w, "disk            %s\n", term.Bytes(p.DiskBytes))
	fmt.Fprintf(w, "peak memory     about %s\n", term.Bytes(p.PeakRSSBytes))
	fmt.Fprintf(w, "time            about %s\n", term.Seconds(p.Seconds))
	notesText(w, p.Substitutions)
}

func notesText(w io.Writer, notes []string) {
	for _, n := range notes {
		fmt.Fprintf(w, "note            %s\n", term.CleanLine(n))
	}
}

// damageText lists quantized matrices, the most damaged first.
func damageText(w io.Writer, lines []quant.ModuleReport) {
	fmt.Fprintf(w, "%-40s %-22s %9s %9s %9s\n", "matrix", "stored as", "weights", "outputs", "rounded")
	percent := func(v float64) string {
		if v == 0 {
			return "-"
		}
		return fmt.Sprintf("%.2f %%", 100*v)
	}
	for _, m := range quant.ByDamage(lines) {
		fmt.Fprintf(w, "%-40s %-22s %9s %9s %9s\n", term.CleanLine(m.Module), m.Spec, percent(m.RelErr), percent(m.OutErr), percent(m.OutErrRTN))
	}
	fmt.Fprintln(w, "errors relative to the weights, to the outputs for the calibration, and to the outputs with plain rounding")
}

// quantizeResult adds the process's own figures to the engine's.
type quantizeResult struct {
	quant.Result
	PeakRSS       int64    `json:"peak_rss_bytes"`
	Substitutions []string `json:"substitutions"`
	OpensIn       string   `json:"opens_in"`
}

// opensIn says which programs open a directory that was written, "" if nothing can be said.
func opensIn(path string) string {
	ck, err := model.Look(path)
	if err != nil {
		return ""
	}
	defer ck.Close()
	return export.Opens(ck.Config, ck.Scheme)
}

// addCalibration adds the flags that choose what methods calibrate with.
func addCalibration(cmd *cobra.Command, c *job.Calibration) {
	cmd.Flags().StringVar(&c.Path, "calib", "", "text or JSON (texts, \"text\", \"messages\" or \"conversations\"; - is standard input) to calibrate with, for "+calibrating()+" (default: a built-in text)")
	cmd.Flags().Var(atLeast{&c.Samples, 1}, "samples", "stretches of the calibration text to use ("+samplesHelp()+")")
	cmd.Flags().Var(atLeast{&c.Length, 2}, "length", "tokens of a stretch, at most the model's context (default: 512)")
	cmd.Flags().Uint64Var(&c.Seed, "seed", 0, "which stretches")
}

// parsed is the value of a flag that a function reads; nothing, as it begins, is the
// default.
type parsed[T comparable] struct {
	value *T
	kind  string // for the help
	parse func(string) (T, error)
}

// String implements pflag.Value.
func (f parsed[T]) String() string {
	var none T
	if f.value == nil || *f.value == none {
		return ""
	}
	return fmt.Sprint(*f.value)
}

// Set implements pflag.Value.
func (f parsed[T]) Set(s string) (err error) {
	*f.value, err = f.parse(s)
	return err
}

// Type implements pflag.Value.
func (f parsed[T]) Type() string { return f.kind }

// atLeast is the value of a flag that must not be below a number when it is given;
// 0, as it begins, is the default.
type atLeast struct {
	value *int
	least int
}

// String implements pflag.Value.
func (f atLeast) String() string {
	if f.value == nil || *f.value == 0 {
		return ""
	}
	return strconv.Itoa(*f.value)
}

// Set implements pflag.Value.
func (f atLeast) Set(s string) (err error) {
	if *f.value, err = strconv.Atoi(s); err == nil && *f.value < f.least {
		err = fmt.Errorf("it must be at least %d", f.least)
	}
	return err
}

// Type implements pflag.Value.
func (f atLeast) Type() string { return "int" }

func (a *app) quantizeCmd() *cobra.Command {
	var q job.Quantize
	var layers bool
	cmd := &cobra.Command{
		Use: "quantize MODEL -o DIR", Short: "write an INT4 model by one recipe", Args: args(1, 1),
		Long: `quantize writes an INT4 model by one recipe. What is finished is kept as it finishes: after
an interruption, or a crash, the same command goes on from there, to the same bytes.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Out == "" {
				return usagef("quantize needs an output directory: -o DIR")
			}
			if err := checkRecipe(q); err != nil {
				return err
			}
			at, err := quant.Claim(q.Out, args[0])
			if err != nil {
				return err
			}
			defer at.Release()
			ck, err := a.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer ck.Close()
			eng, err := a.engine()
			if err != nil {
				return err
			}
			defer eng.Close()
			o, err := a.quantizeOptions(q, eng, ck)
			if err != nil {
				return err
			}
			cal := o.Calibration
			if cal != nil {
				a.tell(cal.Notes)
			}
			o.Claim = at
			a.owner.Hint("the same command goes on from what is finished")
			res, err := quant.Run(cmd.Context(), o, func(e quant.Event) { a.report.event(e) })
			if err != nil {
				return err
			}
			full := quantizeResult{res, peakRSS(), res.Report.Substitutions, opensIn(res.Path)}
			a.report.result(full, func(w io.Writer) {
				if res.Found {
					fmt.Fprintf(w, "there already   %s, from the same command\n", term.CleanLine(res.Path))
				} else {
					fmt.Fprintf(w, "wrote           %s\n", term.CleanLine(res.Path))
				}
				fmt.Fprintf(w, "recipe          %s\n", term.CleanLine(res.Report.Recipe.String()))
				fmt.Fprintf(w, "size            %s, %.3f bits per weight, from %s\n", term.Bytes(res.SizeBytes), res.BPW, term.Bytes(ck.Bytes()))
				fmt.Fprintf(w, "opens in        %s\n", term.CleanLine(full.OpensIn))
				if cal != nil {
					fmt.Fprintf(w, "calibrated      %d samples of %d tokens of %s\n", cal.Samples, cal.Length, term.CleanLine(cal.Name))
				}
				notesText(w, full.Substitutions)
				if layers {
					damageText(w, res.Report.Modules)
				}
				fmt.Fprintf(w, "took            %s, peak memory %s\n", term.Seconds(res.Seconds), term.Bytes(full.PeakRSS))
				fmt.Fprintf(w, "next            nibble eval %s --base %s\n", term.Word(q.Out), term.Word(args[0]))
			})
			return nil
		},
	}
	cmd.Flags().StringVarP(&q.Out, "output", "o", "", "directory to write; must not exist or be empty")
	cmd.Flags().StringVar(&q.Recipe, "recipe", "", recipeHelp)
	cmd.Flags().BoolVar(&q.Restart, "restart", false, "start over instead of going on from an interrupted run")
	cmd.Flags().BoolVar(&layers, "layers", false, "list the matrices, the most damaged first")
	cmd.Flags().BoolVar(&q.Force, "force", false, "begin even if memory seems too small")
	addCalibration(cmd, &q.Calibration)
	return cmd
}
