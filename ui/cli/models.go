package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"nibble/model/store"
	"nibble/ui/job"
	"nibble/ui/term"
)

// modelsResult is what 'nibble models' says.
type modelsResult struct {
	Models []store.Entry `json:"models"`
}

func (a *app) modelsCmd() *cobra.Command {
	return &cobra.Command{
		Use: "models [DIR...]", Short: "what models are on this machine, and whether nibble opens them",
		Long: `models lists what lies in the cache of the Hugging Face hub (HF_HUB_CACHE, HF_HOME), in
Ollama's store (OLLAMA_MODELS), in LM Studio's and llama.cpp's folders, what searches of
'nibble tune' wrote, and what is in the directories that are given. The first column is what
every command takes as MODEL.`,
		RunE: func(cmd *cobra.Command, dirs []string) error {
			where := job.WrittenDirs(job.RunsDir())
			for _, d := range dirs {
				where = append(where, store.Dir{Path: d})
			}
			list, err := store.List(cmd.Context(), where...)
			if err != nil {
				return err
			}
			a.report.result(modelsResult{list}, func(w io.Writer) { modelsText(w, list) })
			return nil
		},
	}
}

func modelsText(w io.Writer, list []store.Entry) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no models were found; 'nibble pull ORG/NAME' downloads one, 'nibble models DIR' looks into a directory")
		return
	}
	width := 0
	for _, e := range list {
		width = max(width, min(60, len([]rune(term.CleanLine(e.Ref)))))
	}
	fmt.Fprintf(w, "%-*s %-10s %-26s %-18s %9s  %s\n", width, "model", "store", "architecture", "format", "size", "opens")
	for _, e := range list {
		opens := "yes"
		if !e.Opens {
			opens = "no: " + term.CleanLine(term.Shorten(e.Reason))
		}
		fmt.Fprintf(w, "%-*s %-10s %-26s %-18s %9s  %s\n", width, term.CleanLine(e.Ref), e.Store, term.CleanLine(e.Arch), term.CleanLine(e.Format), term.Bytes(e.SizeBytes), opens)
	}
}
