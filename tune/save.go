package tune

import (
	"context"

	"nibble/eval"
	"nibble/model/jsonnum"
	"nibble/quant"
	"nibble/tune/journal"
)

// evaluation is what the report of a saved model tells of the search.
type evaluation struct {
	eval.Verdict

	Fingerprint string   `json:"fingerprint"` // of the run, as Record has it
	Text        string   `json:"text"`
	TextSHA256  string   `json:"text_sha256"`
	Ctx         int      `json:"ctx"`
	Reached     bool     `json:"reached"`
	Advice      string   `json:"advice,omitempty"`
	StoppedBy   string   `json:"stopped_by"`
	Trial       *Trial   `json:"trial"`
	BasePPL     float64  `json:"base_ppl"`
	Choices     []Choice `json:"choices"`
	Notes       []string `json:"notes"`
	Seconds     float64  `json:"seconds"` // of the search
}

// save writes the best model. It is not cancelled with the search: the point of
// cancelling is to keep what was found.
func (s *scheduler) save(res *Result) error {
	s.tell(Phase{"saving", "writing the best model"})
	e := evaluation{Fingerprint: s.asked.Fingerprint, Text: s.Eval.Text.Name, TextSHA256: s.Eval.Text.SHA256, Ctx: s.local.Reference.Result.Ctx, Verdict: res.Verdict,
		Reached: res.Reached, Advice: res.Advice, StoppedBy: res.StoppedBy, Trial: res.Best, BasePPL: res.BasePPL, Choices: res.Choices, Notes: res.Notes,
		Seconds: s.clock.Elapsed().Seconds()}
	o := quant.Options{Engine: s.Base.Engine, Source: s.Source, Base: s.Base, Recipe: res.Best.Recipe, Calibration: s.Calibration,
		Out: s.Out, Claim: s.Claim, Restart: true, Made: s.local.Artifacts.Of(res.Best.Recipe), Evaluation: e}
	if _, err := quant.Run(context.Background(), o, func(e quant.Event) { s.tell(e) }); err != nil {
		return err
	}
	s.local.Artifacts.Clear()
	res.Path = s.Out
	s.tell(Saved{s.Out})
	return nil
}

// claim claims the output, or returns the result of this very run if its model is
// saved there already. A directory with anything else in it is an error.
func (s *scheduler) claim() (res Result, found bool, err error) {
	place, err := quant.Place(s.Out, s.Source.Ref)
	if err != nil {
		return res, false, err
	}
	if place.Occupied == nil {
		s.Claim, err = place.Claim()
		return res, false, err
	}
	e, ok := savedBy(s.Out)
	if !ok || e.Fingerprint != s.asked.Fingerprint {
		return res, false, place.Occupied
	}
	place.Forget()
	res = Result{BasePPL: e.BasePPL, Trials: []Trial{*e.Trial}, Best: e.Trial, Verdict: e.Verdict, Windows: e.Trial.Windows, WindowsInText: e.Trial.WindowsInText, Reached: e.Reached, StoppedBy: e.StoppedBy, Advice: e.Advice,
		Choices: e.Choices, Notes: append(e.Notes, "this run was finished before and is not searched again: remove the output, or give another, to go on"),
		Path: s.Out, Seconds: e.Seconds}
	s.catchUp(&res)
	res.Front = Front(res.Trials)
	s.tell(Saved{s.Out})
	return res, true, nil
}

// catchUp takes the trials of a finished run from its journal, which it closes if
// the run was killed before it could.
func (s *scheduler) catchUp(res *Result) {
	run, dir, ok := journal.Finished(s.RunDir, s.Runs, s.asked.Fingerprint)
	if !ok {
		return
	}
	if len(run.Trials) > 0 {
		res.Trials = run.Trials
	}
	if run.StoppedBy != "" {
		return
	}
	if j, _, err := journal.Open(dir, run); err == nil {
		defer j.Close()
		s.journaled(j.Finish(res.StoppedBy, res.Choices))
	}
}

// savedBy reads what a directory's report tells of a search; ok is false if that
// is nothing.
func savedBy(dir string) (e evaluation, ok bool) {
	report, err := quant.ReadReport(dir)
	if err != nil || !report.Holds(dir) {
		return e, false
	}
	data, err := jsonnum.Marshal(report.Evaluation)
	if err != nil || jsonnum.Unmarshal(data, &e) != nil {
		return e, false
	}
	return e, e.Fingerprint != "" && e.Trial != nil
}
