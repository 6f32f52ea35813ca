package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"nibble/eval"
	"nibble/kernels"
	"nibble/model/export"
	"nibble/model/hub"
	"nibble/model/jsonnum"
	"nibble/quant"
	rt "nibble/runtime"
	"nibble/tune"
	"nibble/ui/job"
	"nibble/ui/term"
)

// event is what every engine of the house reports.
type event interface{ EventName() string }

// reporter shows a command's events and its result.
type reporter interface {
	event(e event)
	// result ends the command: v is the JSON form, text writes the other.
	result(v any, text func(w io.Writer))
	// clear removes an unfinished progress line.
	clear()
}

func newReporter(a *app) reporter {
	if a.json {
		return &jsonReporter{a}
	}
	return &textReporter{app: a, eta: term.NewETA(20 * time.Second), left: -1}
}

// note tells what is not as one might think: at once on stderr, and in the result
// as JSON.
func (a *app) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	a.notes = append(a.notes, text)
	a.tell([]string{text})
}

// tell writes notes that are part of the result already.
func (a *app) tell(notes []string) {
	a.report.clear()
	for _, n := range notes {
		fmt.Fprintf(a.err, "note: %s\n", term.CleanLine(term.Shorten(n)))
	}
}

// withNotes adds notes to those of a JSON object.
func withNotes(body []byte, notes []string) []byte {
	var own struct {
		Notes []string `json:"notes"`
	}
	fields := map[string]json.RawMessage{}
	if len(notes) == 0 || json.Unmarshal(body, &own) != nil || json.Unmarshal(body, &fields) != nil {
		return body
	}
	all, _ := json.Marshal(append(notes, own.Notes...)) // strings always marshal
	fields["notes"] = all
	body, _ = json.Marshal(fields)
	return body
}

// jsonReporter prints one object a line.
type jsonReporter struct{ app *app }

func (r *jsonReporter) event(e event) {
	r.app.owner.Alive()
	r.print(e.EventName(), e)
}

func (r *jsonReporter) result(v any, _ func(io.Writer)) { r.print("result", v) }

func (r *jsonReporter) clear() {}

// print merges the type into the object's own fields.
func (r *jsonReporter) print(kind string, v any) {
	body, err := jsonnum.Marshal(v)
	if err != nil {
		panic(fmt.Errorf("%s: %w", kind, err)) // no event or result has what JSON cannot hold
	}
	if kind == "result" {
		body = withNotes(body, r.app.notes)
	}
	rest := strings.TrimPrefix(string(body), "{")
	if rest != "}" {
		rest = "," + rest
	}
	fmt.Fprintln(r.app.out, term.EscapeJSON(fmt.Sprintf("{\"type\":%q%s", kind, rest)))
}

// textReporter prints labelled lines and keeps one progress line on stderr when
// that is a terminal; otherwise a line every few seconds.
type textReporter struct {
	app   *app
	eta   *term.ETA
	stage string
	last  time.Time
	shown bool
	left  time.Duration // of quantizing, as its last event says; -1 is unknown
}

func (r *textReporter) result(_ any, text func(io.Writer)) {
	r.clear()
	text(r.app.out)
}

func (r *textReporter) clear() {
	if r.shown {
		r.app.err.ClearLine()
		r.shown = false
	}
}

// line prints a lasting line of progress.
func (r *textReporter) line(format string, args ...any) {
	r.clear()
	fmt.Fprintf(r.app.err, format+"\n", args...)
}

// progress replaces the progress line.
func (r *textReporter) progress(stage string, done, total float64, format string, args ...any) {
	now := time.Now()
	if stage != r.stage {
		r.stage, r.eta = stage, term.NewETA(20*time.Second)
		r.eta.Add(now, 0)
	}
	share := done / max(total, 1)
	r.eta.Add(now, share)
	r.show(stage, share, r.eta.Left(), format, args...)
}

// show replaces the progress line; left is negative while it is unknown.
func (r *textReporter) show(stage string, share float64, left time.Duration, format string, args ...any) {
	now := time.Now()
	every := 5 * time.Second
	if r.app.errTTY {
		every = 100 * time.Millisecond
	}
	if now.Sub(r.last) < every {
		return
	}
	r.last = now
	text := fmt.Sprintf("%-12s %3.0f %%  %s", stage, 100*share, fmt.Sprintf(format, args...))
	if left >= 0 {
		text += "  " + term.Duration(left) + " left"
	}
	if r.app.errTTY {
		r.app.err.ClearLine()
		fmt.Fprint(r.app.err, text)
		r.shown = true
	} else {
		fmt.Fprintln(r.app.err, text)
	}
}

// unkept begins the note of a cache that cannot be written.
const unkept = "what was measured of this machine is not kept for the next time: "

func (r *textReporter) event(e event) {
	r.app.owner.Alive()
	switch e := e.(type) {
	case quant.Unkept:
		r.app.note("%s%s", unkept, e.Why)
	case kernels.Unkept:
		r.app.note("%s%s", unkept, e.Why)
	case quant.Measuring:
		r.line("measuring how fast this machine quantizes: some seconds, once")
	case quant.Resumed:
		r.line("going on from an interrupted run: %d matrices are done already", e.Modules)
		if e.Damaged > 0 {
			r.line("%d parts of it were damaged and are made again", e.Damaged)
		}
	case quant.ModuleDone:
		lost := fmt.Sprintf("%.1f %% off", 100*e.RelErr)
		if e.OutErr > 0 {
			lost = fmt.Sprintf("outputs %.1f %% off, %.1f %% if rounded", 100*e.OutErr, 100*e.OutErrRTN)
		}
		r.show("quantizing", float64(e.DoneParams)/float64(max(e.Params, 1)), r.left, "%s  %s  %s", term.CleanLine(e.Module), e.Spec, lost)
	case quant.Progress:
		r.left = time.Duration(e.Estimate * float64(time.Second))
		r.show("quantizing", float64(e.DoneParams)/float64(max(e.Params, 1)), r.left, "%s", term.CleanLine(e.Module))
	case quant.Trained:
		stage := fmt.Sprintf("layer %d", e.Layer)
		if e.Layer < 0 {
			stage = "all layers"
		}
		if e.Iteration == e.Iterations {
			r.line("%-12s trained: loss %.4g, %.4g at first, in %s", stage, e.Loss, e.Before, term.Seconds(e.Seconds))
			return
		}
		rate := float64(e.Iteration) / max(e.Seconds, 1e-9)
		text := fmt.Sprintf("iteration %d of %d, %.3g a second  loss %.4g, %.4g at first", e.Iteration, e.Iterations, rate, e.Loss, e.Before)
		if r.left > 0 {
			text += "  " + term.Duration(r.left) + " for all layers,"
		}
		r.show(stage, float64(e.Iteration)/float64(e.Iterations), time.Duration(e.Estimate*float64(time.Second)), "%s", text)
	case hub.Started:
		if e.Needed > 0 {
			r.line("downloading %s of %s, %d files, to %s", term.Bytes(e.Needed), term.CleanLine(e.Repo), e.Files, term.CleanLine(e.To))
		}
	case hub.Progress:
		rate := ""
		if bps := r.eta.Rate() * float64(e.Total); bps >= 1 {
			rate = term.Bytes(int64(bps)) + "/s  "
		}
		r.progress("downloading", float64(e.Done), float64(e.Total), "%s of %s  %s%s", term.Bytes(e.Done), term.Bytes(e.Total), rate, term.CleanLine(e.File))
	case hub.Retrying:
		r.line("%s; trying again in %s", term.CleanLine(e.Why), term.Seconds(e.Seconds))
	case hub.Waiting:
		r.line("%s is downloaded by %s: waiting for it", term.CleanLine(e.File), term.CleanLine(e.Owner))
	case export.Progress:
		r.progress(e.Stage, float64(e.Done), float64(e.Total), "%s", term.CleanLine(e.Tensor))
	case eval.Progress:
		if e.KLD > 0 {
			r.progress(e.Stage, float64(e.Done), float64(e.Total), "perplexity %s  KLD %.5f", term.Measured(e.PPL, e.PPLSE), e.KLD)
		} else {
			r.progress(e.Stage, float64(e.Done), float64(e.Total), "perplexity %s", term.Measured(e.PPL, e.PPLSE))
		}
	case eval.ReferenceStates:
		switch {
		case e.Known:
			r.line("base model: recalled, %s", term.Bytes(e.Bytes))
		case e.Path != "" && e.Bytes > 100e6:
			r.line("base model: its hidden states take %s of %s", term.Bytes(e.Bytes), term.CleanLine(e.Path))
		}
	case eval.StepProgress:
		r.progress(e.Stage, float64(e.Done), float64(e.Total), "%d of %d steps", e.Done, e.Total)
	case eval.TaskProgress:
		r.progress("questions", float64(e.Done), float64(e.Total), "%s %d of %d", term.CleanLine(e.Task), e.Done, e.Total)
	case kernels.ShapeMeasured:
		r.progress("kernels", float64(e.Done), float64(e.Total), "%s %dx%d M=%d: %s", term.CleanLine(e.Choice.Format), e.Choice.N, e.Choice.K, e.Choice.M, term.CleanLine(e.Choice.Reason))
	case rt.BenchProgress:
		r.progress("bench "+e.Test, float64(e.Rep), float64(e.Reps), "%s tokens/s", term.Digits(e.TPS))
	case tune.Phase:
		r.line("── %s: %s", e.Name, e.About)
	case tune.ReferenceDone:
		r.line("float model: perplexity %s, %s; goal: %s", term.Measured(e.PPL, e.PPLSE), term.Bytes(e.Bytes), job.GoalText(e.Goal))
	case tune.TrialProgress:
		r.progress(fmt.Sprintf("trial %d", e.ID), float64(e.Done), float64(e.Total), "perplexity %s", term.PercentSE(e.PPLRatio-1, e.PPLRatioSE))
	case tune.Score:
		r.progress("screening", float64(e.Done), float64(e.Total), "%s %s KLD %.2g", term.CleanLine(e.Matrix), term.CleanLine(e.Spec), e.KLD)
	case tune.TrialDone:
		r.line("%s", trialLine(e.Trial))
	case tune.Saved:
		r.line("saved %s", term.CleanLine(e.Path))
	}
}

// trialLine is a trial in one line.
func trialLine(t tune.Trial) string {
	name := t.Recipe.Default.String()
	if n := len(t.Recipe.Rules); n > 1 {
		name += fmt.Sprintf(" + %d rules", n)
	}
	return term.CleanLine(fmt.Sprintf("%3d  %-9s %-26s %9s %6.3f bpw  loss %s  KLD %.5f", t.ID, t.State, name, term.Bytes(t.SizeBytes), t.BPW,
		term.PercentSE(t.Loss(), t.PPLRatioSE), t.KLD))
}
