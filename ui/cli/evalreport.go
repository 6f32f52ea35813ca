package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"nibble/eval"
	"nibble/eval/report"
	"nibble/kernels/durable"
	"nibble/model/jsonnum"
	"nibble/model/source"
	"nibble/ui/term"
)

// reportResult is the result of 'nibble eval --report'.
type reportResult struct {
	report.Report
	Path string `json:"path,omitempty"` // none where it could not be written
}

// maxReport bounds a report that is there already, in bytes.
const maxReport = 64 << 20

// The files of a report.
const (
	reportJSON     = "report.json"
	reportMarkdown = "report.md"
)

// errNotOurs refuses to overwrite what is no report of an evaluation: a model's
// own report.json above all.
var errNotOurs = errors.New("is not a report of an evaluation: give another directory")

// checkReportDir reports why a report cannot go to a directory. An older report
// there gives way.
func checkReportDir(dir string) error {
	data, _, err := source.Read(filepath.Join(dir, reportJSON), maxReport)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(filepath.Join(dir, reportMarkdown)); err == nil {
			return fmt.Errorf("%s %w", filepath.Join(dir, reportMarkdown), errNotOurs)
		}
	case err != nil:
		return err
	default:
		var r struct{ Kind string }
		if json.Unmarshal(data, &r) != nil || r.Kind != report.Kind {
			return fmt.Errorf("%s %w", filepath.Join(dir, reportJSON), errNotOurs)
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, ".report-*")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// writeReport writes both files, each whole or not at all.
func writeReport(dir string, r report.Report) error {
	if err := checkReportDir(dir); err != nil {
		return err
	}
	data, err := jsonnum.MarshalIndent(r)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, reportJSON), data, []byte("\n")); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, reportMarkdown), []byte(markdown(r)))
}

// worstShown is how much of what is worst the terminal shows.
const worstShown = 3

// worstText lists the worst tokens in their context.
func worstText(w io.Writer, tokens []eval.WorstToken) {
	if len(tokens) == 0 || tokens[0].KLD == 0 {
		return
	}
	fmt.Fprintf(w, "\nworst tokens\n")
	for _, t := range tokens[:min(len(tokens), worstShown)] {
		fmt.Fprintf(w, "  KLD %.4f  …%s ▸%s\n", t.KLD, term.OneLine(t.Context), term.OneLine(t.Token.Text))
		fmt.Fprintf(w, "%16s %s\n", "model", guessesText(t.Says, func(g eval.Guess) float64 { return g.P }))
		fmt.Fprintf(w, "%16s %s\n", "base", guessesText(t.BaseSays, func(g eval.Guess) float64 { return g.BaseP }))
	}
}

func guessesText(guesses []eval.Guess, p func(eval.Guess) float64) string {
	text := ""
	for i, g := range guesses {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%q %.1f %%", term.OneLine(g.Text), 100*p(g))
	}
	return text
}

// reportText is the short form of a report, for the terminal.
func reportText(w io.Writer, r report.Report, dir string) {
	if d := r.Damage; d != nil && d.Sum > 0 {
		fmt.Fprintf(w, "\nworst layers (alone in the base model; %d windows)\n", d.Windows)
		for _, p := range d.Worst(worstShown) {
			fmt.Fprintf(w, "  %-20s KLD %.5f ± %.5f  %4.1f %% of the damage\n", term.CleanLine(p.Name), p.KLD, p.KLDSE, 100*p.Share)
		}
	}
	for _, a := range r.Advice {
		fmt.Fprintf(w, "\nadvice           %s\n  --recipe %q\n", term.CleanLine(a.Text), term.CleanLine(a.Recipe))
	}
	for _, n := range r.Remarks {
		fmt.Fprintf(w, "note             %s\n", term.CleanLine(n))
	}
	if dir != "" {
		fmt.Fprintf(w, "\nreport           %s\n", term.CleanLine(filepath.Join(dir, reportMarkdown)))
	}
}
