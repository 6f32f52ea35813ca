package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nibble/kernels"
	rt "nibble/runtime"
	"nibble/ui/job"
	"nibble/ui/term"
)

// benchRow is one candidate on one shape.
type benchRow struct {
	Op       string      `json:"op"`
	Format   string      `json:"format"`
	N        int         `json:"n"`
	K        int         `json:"k"`
	M        int         `json:"m"`
	Kernel   string      `json:"kernel"`
	ISA      kernels.ISA `json:"isa"`
	Threads  int         `json:"threads"`
	NS       float64     `json:"ns"`
	GOPS     float64     `json:"gops"`
	GBs      float64     `json:"gbps"`
	Roofline float64     `json:"roofline_pct"`
	OK       bool        `json:"ok"`
	Chosen   bool        `json:"chosen"`
	Reason   string      `json:"reason"`
}

// kernelsResult is 'nibble bench' without a model.
type kernelsResult struct {
	CPU kernels.CPU `json:"cpu"`
	kernels.Limits
	Threads    int        `json:"threads"`
	Floats     string     `json:"floats"` // the kernel for batches of float products, and why
	OverStatic float64    `json:"gain_over_static"`
	OverWorst  float64    `json:"gain_over_worst"`
	Rows       []benchRow `json:"rows"`
}

// modelResult is 'nibble bench MODEL'.
type modelResult struct {
	rt.BenchResult
	kernels.Limits
	TokenBytes  int64       `json:"token_bytes"`  // of weights that a decoded token reads
	LoadSeconds float64     `json:"load_seconds"` // with the selection of kernels
	PeakRSS     int64       `json:"peak_rss_bytes"`
	Threads     int         `json:"threads"`
	ISA         kernels.ISA `json:"isa"`
}

// stream compares the weights that decoding reads with what memory could give.
func (r modelResult) stream() string {
	if r.BandwidthGBs == 0 {
		return ""
	}
	rate := r.DecodeTPS * float64(r.TokenBytes) / 1e9
	return fmt.Sprintf(": %s GB/s of weights, memory read is %s GB/s", term.Digits(rate), term.Digits(r.BandwidthGBs))
}

func (a *app) benchCmd() *cobra.Command {
	var prefill, decode, reps int
	var refresh, benchstat bool
	cmd := &cobra.Command{
		Use: "bench [MODEL]", Short: "kernels on this machine, or a model's prefill and decode speed", Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if prefill < 0 || decode < 0 || reps < 1 {
				return usagef("-p and -n must not be negative, --reps at least 1")
			}
			if len(args) == 0 {
				return a.benchKernels(cmd.Context(), refresh, benchstat)
			}
			a.refresh = refresh
			return a.benchModel(cmd.Context(), args[0], rt.BenchOptions{Prefill: prefill, Decode: decode, Reps: reps}, benchstat)
		},
	}
	cmd.Flags().IntVarP(&prefill, "prefill", "p", 512, "tokens of the prompt test")
	cmd.Flags().IntVarP(&decode, "decode", "n", 128, "tokens of the generation test")
	cmd.Flags().IntVar(&reps, "reps", 5, "repetitions")
	cmd.Flags().BoolVar(&refresh, "refresh", false, "measure kernels again instead of recalling them")
	cmd.Flags().BoolVar(&benchstat, "benchstat", false, "print lines for benchstat")
	return cmd
}

func (a *app) benchKernels(ctx context.Context, refresh, benchstat bool) error {
	eng, err := a.engine()
	if err != nil {
		return err
	}
	defer eng.Close()
	shapes := kernels.BenchShapes(eng.Threads())
	t, err := eng.Select(ctx, shapes, kernels.SelectOptions{Budget: 3 * time.Second, CacheDir: job.CacheDir(), Refresh: refresh},
		func(e kernels.Event) { a.report.event(e) })
	if err != nil {
		return err
	}
	res := kernelsResult{CPU: kernels.ThisCPU(), Limits: t.Limits, Threads: eng.Threads(), Floats: eng.FloatChoice()}
	res.OverStatic, res.OverWorst = t.Gain()
	for _, c := range t.Choices {
		for i, m := range c.Candidates {
			row := benchRow{c.Op, c.Format, c.N, c.K, c.M, m.String(), m.ISA, m.Workers, m.NS, m.GOPS, m.GBs, 0, m.OK, i == 0, m.Note}
			if i == 0 {
				row.Roofline, row.Reason = c.Roofline, c.Reason
			}
			res.Rows = append(res.Rows, row)
		}
	}
	a.report.result(res, func(w io.Writer) {
		if benchstat {
			kernelsBenchstat(w, res)
		} else {
			kernelsText(w, res)
		}
	})
	return nil
}

// limits measures the machine.
func (a *app) limits() (kernels.Limits, error) {
	eng, err := a.engine()
	if err != nil {
		return kernels.Limits{}, err
	}
	defer eng.Close()
	return eng.Limits(), nil
}

func kernelsText(w io.Writer, r kernelsResult) {
	fmt.Fprintf(w, "CPU          %s, %d cores: %s\n", term.CleanLine(r.CPU.Name), r.CPU.Cores, strings.Join(r.CPU.Features, " "))
	fmt.Fprintf(w, "limits       %.1f GB/s memory read, %.0f GOP/s integer, %.0f GFLOP/s float32, on %d threads\n", r.BandwidthGBs, r.PeakGOPS, r.PeakGFLOPS, r.Threads)
	fmt.Fprintf(w, "floats       %s\n\n", term.CleanLine(r.Floats))
	fmt.Fprintf(w, "  %-12s %12s %5s  %-24s %10s %8s %8s\n", "format", "N x K", "M", "kernel", "µs", "GOP/s", "GB/s")
	for i, row := range r.Rows {
		if row.Chosen && i > 0 {
			fmt.Fprintln(w)
		}
		mark := " "
		if row.Chosen {
			mark = "►"
		}
		line := fmt.Sprintf("%s %-12s %12s %5d  %-24s %10.1f %8.1f %8.1f  %s", mark, row.Format, fmt.Sprintf("%d x %d", row.N, row.K), row.M, row.Kernel, row.NS/1e3, row.GOPS, row.GBs, row.Reason)
		fmt.Fprintln(w, term.CleanLine(line)) // a cached table is a file like others
	}
	fmt.Fprintf(w, "\nThe choices are %.2fx as fast as the highest instruction set's largest tile and %.2fx as the slowest candidates (geometric means).\n", r.OverStatic, r.OverWorst)
}

func kernelsBenchstat(w io.Writer, r kernelsResult) {
	for _, row := range r.Rows {
		name := strings.NewReplacer(" ", "-").Replace(term.CleanLine(fmt.Sprintf("format=%s/N=%d/K=%d/M=%d/kernel=%s", row.Format, row.N, row.K, row.M, row.Kernel)))
		fmt.Fprintf(w, "BenchmarkKernel/%s-%d 1 %.1f ns/op %.2f GOPS %.2f GB/s\n", name, row.Threads, row.NS, row.GOPS, row.GBs)
	}
}

func (a *app) benchModel(ctx context.Context, ref string, o rt.BenchOptions, benchstat bool) error {
	limits, err := a.limits() // first: the memory they take is free again before the model comes
	if err != nil {
		return err
	}
	start := time.Now()
	l, err := a.load(ctx, ref)
	if err != nil {
		return err
	}
	defer l.close()
	took := time.Since(start).Seconds()
	if limit := l.ck.Config.Positions; o.Prefill > limit || o.Decode > limit {
		a.note("tests are cut to the model's context of %d tokens", limit)
	}
	res, err := rt.Bench(ctx, l.m, o, func(e rt.BenchProgress) { a.report.event(e) })
	if err != nil {
		return err
	}
	full := modelResult{res, limits, l.m.TokenBytes(), took, peakRSS(), l.eng.Threads(), l.eng.ISA()}
	a.report.result(full, func(w io.Writer) {
		if benchstat {
			fmt.Fprintf(w, "BenchmarkModel/name=%s/step=prefill-%d 1 %.1f tokens/s\n", strings.ReplaceAll(term.CleanLine(l.ck.Name), " ", "_"), full.Threads, res.PrefillTPS)
			fmt.Fprintf(w, "BenchmarkModel/name=%s/step=decode-%d 1 %.1f tokens/s\n", strings.ReplaceAll(term.CleanLine(l.ck.Name), " ", "_"), full.Threads, res.DecodeTPS)
			return
		}
		fmt.Fprintf(w, "model        %s, %s in memory, loaded in %s\n", term.CleanLine(ref), term.Bytes(res.ModelBytes), term.Seconds(took))
		fmt.Fprintf(w, "threads      %d, %s\n", full.Threads, full.ISA)
		if o.Prefill > 0 {
			fmt.Fprintf(w, "prefill      %s ± %s tokens/s (pp%d)\n", term.Digits(res.PrefillTPS), term.Digits(res.PrefillSD), min(o.Prefill, l.ck.Config.Positions))
		}
		if o.Decode > 0 {
			fmt.Fprintf(w, "decode       %s ± %s tokens/s (tg%d)%s\n", term.Digits(res.DecodeTPS), term.Digits(res.DecodeSD), min(o.Decode, l.ck.Config.Positions), full.stream())
		}
		fmt.Fprintf(w, "peak memory  %s\n", term.Bytes(full.PeakRSS))
	})
	return nil
}
