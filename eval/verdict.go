package eval

import (
	"fmt"
	"math"
)

// sureErrors is how many standard errors a loss must be away from a goal to be
// taken for a verdict: about 95 % of confidence.
const sureErrors = 2

// Verdict says in a sentence whether the model keeps a goal, the share of its
// perplexity that may be lost, and how sure that is. It is empty without a
// comparison.
func (r Result) Verdict(goal float64) string {
	if !r.Compared() {
		return ""
	}
	loss, se := r.PPLRatio-1, r.PPLRatioSE
	figures := fmt.Sprintf("perplexity %+.2f %% ± %.2f %%, the goal is %+.2f %%", 100*loss, 100*se, 100*goal)
	apart := math.Abs(goal - loss)
	switch {
	case apart >= sureErrors*se && loss <= goal:
		return "within the goal: " + figures
	case apart >= sureErrors*se:
		return "beyond the goal: " + figures
	}
	// Standard errors fall with the root of the number of tokens.
	more := math.Pow(sureErrors*se/apart, 2)
	if !(more < 100) {
		return "undecided: " + figures + "; more text would hardly decide"
	}
	return fmt.Sprintf("undecided: %s; about %.0f times the text would decide", figures, math.Ceil(more))
}
