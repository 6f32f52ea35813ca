package search

import (
	"cmp"
	"fmt"
	"slices"

	"nibble/eval"
	"nibble/quant"
)

// State says how a trial ended.
type State string

// The states.
const (
	Running State = "running"
	Reached State = eval.Reached // measured on the whole text, within the goal for sure
	Missed  State = eval.Missed  // measured in full, beyond the goal or a limit for sure
	Stopped State = "stopped"    // before all was measured, which Note explains
	Failed  State = "failed"     // an error, in Note

	Undecided State = eval.Undecided // measured in full, which does not tell
	Promising State = "promising"    // within the goal for sure on the part of the text that there is time for

	Measured State = "measured" // in full, where there is no goal to pass or miss
	Untested State = "untested" // there was no time to measure it
)

// Phase says why a recipe was tried.
type Phase string

// The phases.
const (
	Tuned   Phase = "tuned"   // the scores predict it to be best
	Uniform Phase = "uniform" // it stores all matrices alike, in fewer bytes
	Refined Phase = "refined" // a method that trains layers stores the same bits
	Around  Phase = "front"   // it is smaller or larger than the best
	Decided Phase = "decided" // measured on more of the text, because that was open
)

// Trial is one recipe measured.
type Trial struct {
	ID         int          `json:"id"`
	Phase      Phase        `json:"phase"`
	Recipe     quant.Recipe `json:"recipe"`
	State      State        `json:"state"`
	SizeBytes  int64        `json:"size_bytes"`
	BPW        float64      `json:"bpw"`
	PPL        float64      `json:"ppl"`
	PPLRatio   float64      `json:"ppl_ratio"` // to the float model
	PPLRatioSE float64      `json:"ppl_ratio_se"`
	KLD        float64      `json:"kld"`
	KLDSE      float64      `json:"kld_se"`
	SameTop    float64      `json:"same_top"`
	Windows    int          `json:"windows"` // measured; fewer than all when stopped
	Tokens     int          `json:"tokens"`  // scored in them
	DecodeTPS  float64      `json:"decode_tps"`
	Predicted  *Prediction  `json:"predicted,omitempty"` // before it was measured
	Seconds    float64      `json:"seconds"`
	Note       string       `json:"note,omitempty"`

	WindowsInText int `json:"windows_in_text"`
}

// Loss is the relative increase of perplexity.
func (t Trial) Loss() float64 { return t.PPLRatio - 1 }

// Complete reports whether the trial's figures cover all that was to be measured.
func (t Trial) Complete() bool {
	return t.Passed() || t.State == Undecided || t.State == Missed || t.State == Measured
}

// Passed reports whether the trial is within the goal on what was measured.
func (t Trial) Passed() bool { return t.State == Reached || t.State == Promising }

// Take sets the trial's figures.
func (t *Trial) Take(r eval.Result) {
	t.PPL, t.PPLRatio, t.PPLRatioSE = r.PPL, r.PPLRatio, r.PPLRatioSE
	t.KLD, t.KLDSE, t.SameTop = r.KLDMean, r.KLDSE, r.SameTop
	t.Windows, t.WindowsInText, t.Tokens = r.Windows, r.WindowsInText, r.Tokens
}

// evidence is what a verdict about the trial rests on.
func (t Trial) evidence() eval.Evidence {
	return eval.Evidence{Loss: t.Loss(), LossSE: t.PPLRatioSE, Tokens: t.Tokens, Windows: t.Windows, WindowsInText: t.WindowsInText}
}

// Verdict says whether the trial reached a goal; 0 is none beside the limits, which
// every trial that was measured keeps unless it says so. What was measured on part of
// the text can have missed a goal for sure, but not have reached one.
func (t Trial) Verdict(goal float64) eval.Verdict {
	v := eval.Verdict{Word: eval.Undecided, Goal: goal, Loss: t.Loss(), LossSE: t.PPLRatioSE, Decide: "more time: it was not measured"}
	switch {
	case t.State == Untested || t.State == Failed || t.State == Running:
	case t.State == Missed:
		v.Word, v.Decide = eval.Missed, ""
	case t.State == Measured:
		v.Word, v.Decide = eval.Reached, ""
	case goal > 0:
		v = t.evidence().Judge(goal)
		if v.Word == eval.Reached && t.State != Reached {
			v.Word, v.Decide = eval.Undecided, fmt.Sprintf("it is within the goal on %d of the text's %d windows: the others would decide, which takes more time", t.Windows, t.WindowsInText)
		}
	case t.State == Stopped:
		v.Decide = "more time: it was not measured in full"
	}
	return v
}

// Prediction is what a recipe is expected to give.
type Prediction struct {
	SizeBytes int64   `json:"size_bytes"`
	BPW       float64 `json:"bpw"`
	KLD       float64 `json:"kld"`
	Loss      float64 `json:"loss"`
	DecodeTPS float64 `json:"decode_tps"` // 0 if unknown
}

// Point is a trial on the front.
type Point struct {
	Trial     int     `json:"trial"`
	SizeBytes int64   `json:"size_bytes"`
	BPW       float64 `json:"bpw"`
	Loss      float64 `json:"loss"`
	DecodeTPS float64 `json:"decode_tps"`
	Recipe    string  `json:"recipe"`
}

// Front lists the measured trials that no other beats in both size and loss,
// smallest first.
func Front(trials []Trial) []Point {
	var front []Point
	order := slices.Clone(trials)
	slices.SortStableFunc(order, func(a, b Trial) int {
		return cmp.Or(cmp.Compare(a.SizeBytes, b.SizeBytes), cmp.Compare(a.Loss(), b.Loss()))
	})
	for _, t := range order {
		if !t.Complete() || len(front) > 0 && t.Loss() >= front[len(front)-1].Loss {
			continue
		}
		front = append(front, Point{t.ID, t.SizeBytes, t.BPW, t.Loss(), t.DecodeTPS, t.Recipe.String()})
	}
	return front
}

// Best returns the smallest trial that reached the goal, or else the most accurate
// one, of those measured in full if there are any; nil if there is none at all.
func Best(trials []Trial) *Trial {
	if at := bestOf(trials); at >= 0 {
		return &trials[at]
	}
	return nil
}

// bestOf returns the index of the best trial, -1 if there is none.
func bestOf(trials []Trial) int {
	best := -1
	for i, t := range trials {
		if rank[t.State] > 0 && (best < 0 || better(t, trials[best])) {
			best = i
		}
	}
	return best
}

// rank is how much an ending is worth.
var rank = map[State]int{Untested: 1, Stopped: 2, Missed: 3, Undecided: 4, Measured: 5, Promising: 6, Reached: 7}

func better(a, b Trial) bool {
	if a.State != b.State {
		return rank[a.State] > rank[b.State]
	}
	switch a.State {
	case Reached, Promising:
		return a.SizeBytes < b.SizeBytes || a.SizeBytes == b.SizeBytes && a.Loss() < b.Loss()
	case Missed, Undecided:
		return a.Loss() < b.Loss()
	}
	return a.KLD < b.KLD
}
