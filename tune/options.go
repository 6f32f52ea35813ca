package tune

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"nibble/eval"
	"nibble/model"
	"nibble/model/output"
	"nibble/quant"
	rt "nibble/runtime"
	"nibble/tune/solve"
	"nibble/tune/space"
)

// ErrOptions reports options out of range or that no recipe can meet.
var ErrOptions = errors.New("tuning options")

// Options configures Run.
type Options struct {
	Source      *model.Checkpoint
	Base        *rt.Model          // Source, loaded
	Eval        eval.Options       // text to judge by; questions cost more than windows and are left out
	Calibration *quant.Calibration // quant.NewCalibration's defaults if nil
	Specs       []quant.Spec       // that are offered for every matrix; DefaultSpecs if empty
	Fused       bool               // matrices that read the same inputs (q, k, v; gate, up) share a spec

	Goal     float64 // relative increase of perplexity allowed; 0: none if there are limits, else DefaultGoal
	MaxBPW   float64 // bits per weight allowed; 0: any
	MaxBytes int64   // size of the weights file allowed; 0: any
	MinTPS   float64 // tokens a second to decode at least; 0: any
	MaxRSS   int64   // bytes of memory to run in at a full context; 0: any

	Budget    time.Duration // of work, saving included, not pauses nor a stopped process; 0: until the search is done
	Started   time.Time     // since when the budget runs; the call of Run if zero
	MaxTrials int           // 0: until the search is done
	Out       string        // directory for the best model; "" saves none
	Claim     *output.Claim // of Out, if the caller has it
	Runs      string        // directory of runs: the one with the same options goes on, its time, its output and the number of trials aside, or a new one begins; "" keeps none
	Resume    bool          // ErrNoRun if none goes on
	RunDir    string        // the run's own directory, instead of Runs
	CacheDir  string        // scores and kernel measurements; "" keeps none
	Pause     *Pause        // holds the search at its next event; that time does not count. nil: never
	Request   []byte        // JSON that is kept with the run, for the caller to resume it by
}

// DefaultGoal is one per cent, the usual meaning of a lossless quantization.
const DefaultGoal = 0.01

func (o *Options) validate() error {
	if o.Goal == 0 && !o.limits().Any() {
		o.Goal = DefaultGoal
	}
	switch {
	case !(o.Goal >= 0 && o.Goal <= 10):
		return fmt.Errorf("%w: the goal %g is not between 0 and 1000 %%", ErrOptions, o.Goal)
	case !(o.MaxBPW >= 0) || o.MaxBytes < 0 || !(o.MinTPS >= 0) || o.MaxRSS < 0 || o.Budget < 0 || o.MaxTrials < 0:
		return fmt.Errorf("%w: limits must not be negative", ErrOptions)
	case len(o.Eval.Text.Data) == 0:
		return fmt.Errorf("%w: there is no text to judge by", ErrOptions)
	}
	o.Eval.Tasks = nil
	o.Eval.Ctx = cmp.Or(o.Eval.Ctx, eval.DefaultCtx)
	if len(o.Specs) == 0 {
		var err error
		if o.Specs, err = ParseSpecs(DefaultSpecs); err != nil {
			return err
		}
	}
	if err := space.Check(o.Specs); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if o.Calibration == nil {
		var err error
		if o.Calibration, err = quant.NewCalibration(o.Source, quant.CalibrationOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// limits are what is limited besides the loss.
func (o *Options) limits() solve.Limits {
	return solve.Limits{BPW: o.MaxBPW, Bytes: o.MaxBytes, TPS: o.MinTPS, RSS: o.MaxRSS}
}

// Result is a finished run.
type Result struct {
	eval.Verdict // about the goal, 0 if there was none, and what it rests on

	Windows       int `json:"windows"` // measured of the best
	WindowsInText int `json:"windows_in_text"`

	BasePPL   float64  `json:"base_ppl"`
	Trials    []Trial  `json:"trials"`
	Front     []Point  `json:"front"`
	Best      *Trial   `json:"best"`
	Reached   bool     `json:"reached"`    // for sure
	StoppedBy string   `json:"stopped_by"` // "done", "budget", "trials" or "cancelled"
	Advice    string   `json:"advice,omitempty"`
	Choices   []Choice `json:"choices"` // of the best
	Notes     []string `json:"notes,omitempty"`
	Path      string   `json:"path,omitempty"`
	Artifact  string   `json:"-"` // where the best lies in the run's directory if it was trained and not saved
	Seconds   float64  `json:"seconds"`
}
