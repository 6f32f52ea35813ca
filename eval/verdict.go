package eval

import (
	"fmt"
	"math"
)

// The words of a verdict about a goal.
const (
	Reached   = "reached"   // the whole interval of the loss is within the goal
	Missed    = "missed"    // the whole interval is beyond it
	Undecided = "undecided" // the goal is in the interval
)

// SureErrors is how many standard errors to either side the interval of a loss has:
// about 95 % of confidence.
const SureErrors = 2

// leastTokens is how few tokens have no standard error that means something.
const leastTokens = 30

// Evidence is what a verdict rests on.
type Evidence struct {
	Loss, LossSE  float64 // of perplexity, relative
	Tokens        int     // scored
	Windows       int     // measured
	WindowsInText int     // that the whole text has
}

// Verdict says whether a model keeps a goal, the share of its perplexity that may be
// lost, and what is known about that.
type Verdict struct {
	Word   string  `json:"verdict"`
	Goal   float64 `json:"goal"`
	Loss   float64 `json:"loss"`
	LossSE float64 `json:"loss_se"`
	Decide string  `json:"decide,omitempty"` // what would decide
}

// Judge gives the verdict that the evidence supports.
func (e Evidence) Judge(goal float64) Verdict {
	v := Verdict{Word: Undecided, Goal: goal, Loss: e.Loss, LossSE: e.LossSE}
	switch {
	case math.IsInf(e.Loss, 1): // its standard error is infinite as well
		v.Word = Missed
	case math.IsNaN(e.Loss) || math.IsNaN(e.LossSE):
		v.Decide = "the loss is not a number"
	case e.Tokens < leastTokens:
		v.Decide = fmt.Sprintf("%d tokens tell nothing: a longer text would decide, or longer windows", e.Tokens)
	case e.Loss+SureErrors*e.LossSE <= goal:
		v.Word = Reached
	case e.Loss-SureErrors*e.LossSE > goal:
		v.Word = Missed
	default:
		v.Decide = e.more(goal)
	}
	return v
}

// Needed is about how many windows have an interval that the goal is not in;
// standard errors fall with the root of the number of tokens.
func (e Evidence) Needed(goal float64) float64 {
	return float64(e.Windows) * math.Pow(SureErrors*e.LossSE/math.Abs(goal-e.Loss), 2)
}

// more says what would decide.
func (e Evidence) more(goal float64) string {
	needed := math.Ceil(e.Needed(goal))
	switch {
	case needed <= float64(e.WindowsInText):
		return fmt.Sprintf("about %.0f more windows would decide; the text has %d", max(1, needed-float64(e.Windows)), e.WindowsInText)
	case !(needed < 100*float64(e.Windows)):
		return "it is so near that more text would hardly decide"
	}
	return fmt.Sprintf("a longer text would decide: about %.0f windows, this one has %d", needed, e.WindowsInText)
}

// Sentence is the verdict for people, with what it rests on.
func (v Verdict) Sentence() string {
	if v.Word == "" {
		return ""
	}
	text := fmt.Sprintf("%s: perplexity %s ± %s, the goal is %s", v.Word, percent("%+.2f", v.Loss), percent("%.2f", v.LossSE), percent("%+.2f", v.Goal))
	if v.Decide != "" {
		text += "; " + v.Decide
	}
	return text
}

// percent formats a share.
func percent(verb string, v float64) string {
	switch {
	case math.IsNaN(v):
		return "nan %"
	case math.IsInf(v, 0):
		return "inf %"
	}
	return fmt.Sprintf(verb+" %%", 100*v)
}

// Verdict judges the result; it is empty without a comparison.
func (r Result) Verdict(goal float64) Verdict {
	if !r.Compared() {
		return Verdict{}
	}
	return Evidence{r.PPLRatio - 1, r.PPLRatioSE, r.Tokens, r.Windows, r.WindowsInText}.Judge(goal)
}
