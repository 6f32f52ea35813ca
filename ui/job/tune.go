package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"nibble/model"
	"nibble/model/text"
	"nibble/tune"
	"nibble/ui/term"
)

// Tune asks for the best recipe. It is kept with the run, to ask again.
type Tune struct {
	Model       string        `json:"model"`
	Out         string        `json:"out"`
	Text        string        `json:"text,omitempty"` // file; "" is what is built in
	Ctx         int           `json:"ctx"`
	Chunks      int           `json:"chunks,omitempty"`
	Calibration Calibration   `json:"calibration"`
	Goal        string        `json:"goal,omitempty"`
	BPW         float64       `json:"bpw,omitempty"`
	Size        string        `json:"size,omitempty"`
	MinTPS      float64       `json:"min_tps,omitempty"`
	MaxRSS      string        `json:"max_rss,omitempty"`
	Specs       string        `json:"specs,omitempty"`
	Fused       bool          `json:"fused,omitempty"`
	Budget      time.Duration `json:"budget,omitempty"`
	Trials      int           `json:"trials,omitempty"`
}

// Limits is the goal and the limits of the search, which need no model. Its errors
// name the flag.
func (t Tune) Limits() (o tune.Options, err error) {
	read := func(flag, value string, parse func(string) error) {
		if value != "" && err == nil {
			if bad := parse(value); bad != nil {
				err = fmt.Errorf("%s %w", flag, bad)
			}
		}
	}
	if t.Text == text.Stdin || t.Calibration.Path == text.Stdin {
		return o, errors.New("--text and --calib of a search are files, so that it can go on later: standard input is gone by then")
	}
	read("--goal", t.Goal, func(s string) (err error) { o.Goal, err = term.ParsePercent(s); return err })
	read("--size", t.Size, func(s string) (err error) { o.MaxBytes, err = term.ParseBytes(s); return err })
	read("--max-rss", t.MaxRSS, func(s string) (err error) { o.MaxRSS, err = term.ParseBytes(s); return err })
	read("--specs:", t.Specs, func(s string) (err error) { o.Specs, err = tune.ParseSpecs(s); return err })
	o.MaxBPW, o.MinTPS, o.Fused, o.Budget, o.MaxTrials, o.Out = t.BPW, t.MinTPS, t.Fused, t.Budget, t.Trials, t.Out
	o.Eval.Ctx, o.Eval.Chunks = t.Ctx, t.Chunks
	return o, err
}

// For reads what the search is asked for on a model: Limits, texts, and the request
// to keep, in which paths are absolute.
func (t Tune) For(ck *model.Checkpoint) (tune.Options, error) {
	o, err := t.Limits()
	if err != nil {
		return o, err
	}
	o.Source = ck
	if o.Eval.Text, err = Text(t.Text, ck, nil); err != nil {
		return o, err
	}
	if o.Calibration, err = t.Calibration.Read(ck, 0, nil); err != nil {
		return o, err
	}
	for _, path := range []*string{&t.Out, &t.Text, &t.Calibration.Path} {
		if *path != "" {
			if *path, err = filepath.Abs(*path); err != nil {
				return o, err
			}
		}
	}
	if _, err := os.Stat(t.Model); err == nil {
		if t.Model, err = filepath.Abs(t.Model); err != nil {
			return o, err
		}
	}
	o.Request, err = json.Marshal(t)
	return o, err
}

// Asked is what a run was asked for.
func Asked(run tune.Record) (t Tune, err error) {
	if run.State == tune.Old {
		return t, fmt.Errorf("run %s was begun by another version of nibble, which measured otherwise; give its command again", run.ID)
	}
	if err := json.Unmarshal(run.Request, &t); err != nil {
		return t, fmt.Errorf("run %s does not say how it was begun; give its command again", run.ID)
	}
	return t, nil
}

// Notes are what could surprise about a search before work.
func (t Tune) Notes(o tune.Options) []string {
	notes := append(TextNotes(t.Text, o.Source, o.Eval), o.Calibration.Notes...)
	if note := o.Calibration.SeenNote(o.Eval.Text.Data); note != "" {
		notes = append(notes, note)
	}
	return notes
}
