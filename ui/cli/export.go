package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nibble/model/export"
	"nibble/model/output"
	"nibble/ui/term"
)

// exportResult adds the process's own figure to the engine's.
type exportResult struct {
	export.Result
	PeakRSS int64 `json:"peak_rss_bytes"`
}

func (a *app) exportCmd() *cobra.Command {
	var format, typ, out string
	cmd := &cobra.Command{
		Use: "export MODEL -o PATH", Short: "write the same weights in another program's format", Args: args(1, 1),
		Long: `export writes the same weights in another program's format: --format gguf, a file for the
programs of the llama.cpp family, or a directory: compressed-tensors for transformers and
vLLM, gptq (version 1 where it is symmetric, else 2) or awq. INT4 and INT8 codes are carried as
they are, not computed again; what is written is read back and compared with the source value
by value before it takes its name. What a format cannot hold is refused first.

In directories an embedding or output head in codes becomes floats, because readers have no
codes there: --type f16 (auto), bf16 or f32 chooses; the largest difference is told.

In GGUF --type auto keeps every matrix exactly: floats as stored, symmetric INT4 as Q4_0, INT4
with zero points as Q4_1 where that is exact, symmetric INT8 as Q8_0, blocks as what they were;
what GGUF cannot hold is refused. rounded is auto, with the minimums of Q4_1 rounded to F16 where
they must be. q4_0, q4_1 and q8_0 choose the type of matrices with 4-bit codes, which only q8_0 holds
whatever their zero points; f16 and f32 turn all matrices into floats.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case out == "":
				return usagef("export needs an output: -o FILE.gguf, or a directory")
			case !slices.Contains(export.Formats(), format):
				return usagef("--format %q: there are %s", format, strings.Join(export.Formats(), ", "))
			}
			types, kind := export.Types(), output.File
			if format != "gguf" {
				types, kind = export.FloatTypes(), output.Directory
			}
			if !slices.Contains(types, typ) {
				return usagef("--type %q: for %s there are %s", typ, format, strings.Join(types, ", "))
			}
			at, err := output.Take(out, kind)
			if err != nil {
				return err
			}
			defer at.Release()
			ck, err := a.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer ck.Close()
			res, err := export.Run(cmd.Context(), export.Options{Source: ck, Out: out, Claim: at, Format: format, Type: typ}, func(e export.Event) { a.report.event(e) })
			if err != nil {
				return err
			}
			full := exportResult{res, peakRSS()}
			a.report.result(full, func(w io.Writer) { exportText(w, full) })
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "file or directory to write; must not exist")
	cmd.Flags().StringVar(&format, "format", "gguf", "format: "+strings.Join(export.Formats(), ", "))
	cmd.Flags().StringVar(&typ, "type", export.Auto, "storage of the matrices: "+strings.Join(export.Types(), ", "))
	return cmd
}

func exportText(w io.Writer, r exportResult) {
	fmt.Fprintf(w, "wrote           %s\n", term.CleanLine(r.Path))
	fmt.Fprintf(w, "size            %s, %.3f bits per weight, %d tensors\n", term.Bytes(r.SizeBytes), r.BPW, r.Tensors)
	for _, s := range r.Types {
		fmt.Fprintf(w, "stored as       %-6s  %d matrices, %s weights\n", s.Type, s.Matrices, term.Count(s.Params))
	}
	if r.Exact {
		fmt.Fprintf(w, "exact           yes: every weight was read back and is the source's\n")
	} else {
		fmt.Fprintf(w, "exact           no: weights differ by up to %.3g (%s)\n", r.MaxAbsDiff, term.CleanLine(r.WorstName))
	}
	fmt.Fprintf(w, "took            %s, peak memory %s\n", term.Seconds(r.Seconds), term.Bytes(r.PeakRSS))
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note            %s\n", term.CleanLine(n))
	}
}
