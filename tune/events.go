package tune

// Event is anything a run reports.
type Event interface{ EventName() string }

// Listener receives events; it may be nil, and must not block: a run is paused by
// Options.Pause.
type Listener func(Event)

func (l Listener) send(e Event) {
	if l != nil {
		l(e)
	}
}

// RunOpened reports which run keeps the journal.
type RunOpened struct {
	ID  string `json:"id"`
	Dir string `json:"dir"`

	Resumed bool `json:"resumed"` // it was begun before
	Known   int  `json:"known"`   // trials that are in it
}

// Noted reports what the result's notes will tell.
type Noted struct {
	Text string `json:"text"`
}

// Phase opens a part of the run.
type Phase struct {
	Name  string `json:"name"` // "reference", "screening", "speed", the phases of trials, or "saving"
	About string `json:"about"`
}

// ReferenceDone reports the float model's figures.
type ReferenceDone struct {
	PPL   float64 `json:"ppl"`
	PPLSE float64 `json:"ppl_se"`
	Bytes int64   `json:"size_bytes"`
	Goal  float64 `json:"goal"`
}

// TrialStarted opens a trial; its size is known, its figures are not.
type TrialStarted struct {
	Trial Trial `json:"trial"`
}

// TrialProgress reports a running trial's figures so far.
type TrialProgress struct {
	ID         int     `json:"id"`
	Done       int     `json:"done"` // windows
	Total      int     `json:"total"`
	PPLRatio   float64 `json:"ppl_ratio"`
	PPLRatioSE float64 `json:"ppl_ratio_se"`
	KLD        float64 `json:"kld"`
}

// TrialDone reports a finished trial with the best and the front as they stand.
type TrialDone struct {
	Trial Trial   `json:"trial"`
	Best  *Trial  `json:"best"`
	Front []Point `json:"front"`
}

// Predicted is the front as it is expected from the scores, and what the trials
// so far correct of it: sent when the scores are known and after every trial.
type Predicted struct {
	Front []Prediction `json:"front"` // smallest first
}

// Explained reports why every matrix of the best trial is stored as it is.
type Explained struct {
	Trial   int      `json:"trial"`
	Choices []Choice `json:"choices"` // in the order of the model
}

// Saved reports the written model.
type Saved struct {
	Path string `json:"path"`
}

// EventName implements Event.
func (RunOpened) EventName() string { return "tune_run" }

// EventName implements Event.
func (Noted) EventName() string { return "tune_note" }

// EventName implements Event.
func (Phase) EventName() string { return "tune_phase" }

// EventName implements Event.
func (ReferenceDone) EventName() string { return "tune_reference" }

// EventName implements Event.
func (TrialStarted) EventName() string { return "tune_trial_started" }

// EventName implements Event.
func (TrialProgress) EventName() string { return "tune_trial_progress" }

// EventName implements Event.
func (TrialDone) EventName() string { return "tune_trial" }

// EventName implements Event.
func (Predicted) EventName() string { return "tune_predicted" }

// EventName implements Event.
func (Explained) EventName() string { return "tune_explained" }

// EventName implements Event.
func (Saved) EventName() string { return "tune_saved" }
