package workbench

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"nibble/ui/job"
	"nibble/ui/term"
)

// tuneForm asks for a search.
type tuneForm struct {
	form
	goal, size, bpw, tps, budget, text, calib, out *field
}

func newTuneForm() tuneForm {
	f := tuneForm{
		goal: &field{label: "goal", empty: "1 %, or none beside a limit", help: "how much perplexity may be lost, such as 0.5%", check: checks(term.ParsePercent)},
		size: &field{label: "size", empty: "any", help: "of the weights file at most, such as 500MB", check: checks(term.ParseBytes)},
		bpw:  &field{label: "bpw", empty: "any", help: "bits per weight at most, over everything stored", check: checks(term.ParsePositive)},
		tps: &field{label: "min-tps", empty: "any", help: "tokens a second to decode at least, as predicted from the kernels' measurements",
			check: checks(term.ParsePositive)},
		budget: &field{label: "budget", empty: "until the search is done", help: "time for it, such as 90s or 10m; the best by then counts", check: checks(term.ParseDuration)},
		text:   &field{label: "text", empty: "built-in prose, or stories for the demo", help: "a file of text to judge by", check: readable},
		calib:  &field{label: "calibration", empty: "a built-in text", help: "a file of text, or of JSON lines, that methods learn from", check: readable},
		out:    &field{label: "directory", empty: "none: in memory, to try it", help: "to write the best model to, once the search has ended"},
	}
	f.fields = []*field{f.goal, f.size, f.bpw, f.tps, f.budget, f.text, f.calib, f.out}
	return f
}

// job is what the fields say; of an error the cursor is on the field.
func (f *tuneForm) job() (job.Tune, error) {
	if err := f.err(); err != nil {
		return job.Tune{}, err
	}
	ask := job.Tune{Out: f.out.path(), Text: f.text.path(), Calibration: job.Calibration{Path: f.calib.path()}, Goal: f.goal.text(), Size: f.size.text()}
	// What is empty stays 0, and the rest was checked.
	ask.BPW, _ = term.ParsePositive(f.bpw.text())
	ask.MinTPS, _ = term.ParsePositive(f.tps.text())
	ask.Budget, _ = term.ParseDuration(f.budget.text())
	_, err := ask.Limits()
	return ask, err
}

// checks makes a field's check of what reads its value.
func checks[T any](parse func(string) (T, error)) func(string) error {
	return func(value string) error {
		_, err := parse(value)
		return err
	}
}

// errNoFile reports a directory or a device.
var errNoFile = errors.New("is not a file")

// readable checks that a value names a file that is there.
func readable(value string) error {
	path := (&field{value: value}).path()
	info, err := os.Stat(path)
	var at *os.PathError
	switch {
	case errors.As(err, &at):
		return fmt.Errorf("%s: %w", path, at.Err)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s %w", path, errNoFile)
	}
	return nil
}

// start begins the search that the form describes, or shows what is wrong with it.
func (p *tunePage) start() {
	p.a.at = slices.Index(p.a.pages, page(p))
	o, err := p.form.job()
	if p.form.open = err != nil; err != nil {
		p.a.s.fail(err)
		return
	}
	p.a.e.tune(o)
}

// options is the form over what it is for.
func (p *tunePage) options(w int) []string {
	th := p.a.th
	lines := append([]string{""}, p.form.view(th, w)...)
	at := p.form.at // the cursor stays while a value is being written
	if o, err := p.form.job(); err == nil {
		limits, _ := o.Limits() // which were checked
		lines = append(lines, "", " "+th.Accent.Render("t")+" searches for "+job.SearchText(limits))
	} else {
		lines = append(lines, "", " "+th.Bad.Render("✗ "+term.CleanLine(err.Error())))
	}
	p.form.at = at
	for _, about := range []string{"",
		"First every spec is screened for each matrix, then recipes of the predicted front are measured on the real INT4 kernels " +
			"and compared with the float model token by token. A search that was cancelled goes on where it stopped when it is asked for with the same options.", "",
		th.Accent.Render("o") + " changes the options; " + th.Accent.Render("p") + " pauses the search, " + th.Accent.Render("x") + " stops it; the trials stay, and u uses one."} {
		for line := range strings.SplitSeq(ansi.Wordwrap(about, max(10, min(w, 100)-2), ""), "\n") {
			lines = append(lines, " "+line)
		}
	}
	return lines
}
