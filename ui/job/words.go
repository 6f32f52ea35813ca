package job

import (
	"cmp"
	"fmt"
	"strings"

	"nibble/tune"
	"nibble/ui/term"
)

// VerdictText is the verdict of a search with what would decide or help.
func VerdictText(r tune.Result) string {
	text := r.Word
	for _, more := range []string{r.Decide, r.Advice} {
		if more != "" {
			text += "; " + more
		}
	}
	return text
}

// GoalText is a goal in words.
func GoalText(goal float64) string {
	if goal == 0 {
		return "the limits"
	}
	return fmt.Sprintf("+%.2f %%", 100*goal)
}

// ResumeHint says how a run goes on.
func ResumeHint(id string) string {
	return fmt.Sprintf("'nibble runs resume %s' goes on", term.CleanLine(id))
}

// EndedText says how a run ended, and what can be done if it did not.
func EndedText(r tune.Record) string {
	switch {
	case r.State == tune.Live:
		return "live: " + term.CleanLine(r.Owner.String())
	case r.State == tune.Old:
		return term.CleanLine(cmp.Or(r.StoppedBy, "killed")) + "; another version of nibble made it: it does not go on"
	case r.StoppedBy == "":
		return "killed; " + ResumeHint(r.ID)
	case r.State == tune.Dead:
		return term.CleanLine(r.StoppedBy) + "; " + ResumeHint(r.ID)
	}
	return term.CleanLine(r.StoppedBy)
}

// Aim is the goal that a search with these options has; 0 is none.
func Aim(o tune.Options) float64 {
	if o.Goal == 0 && o.MaxBytes == 0 && o.MaxBPW == 0 && o.MinTPS == 0 && o.MaxRSS == 0 {
		return tune.DefaultGoal
	}
	return o.Goal
}

// LimitsText tells the limits of a search, "" if there are none.
func LimitsText(o tune.Options) string {
	var parts []string
	add := func(is bool, format string, v any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, v))
		}
	}
	add(o.MaxBytes > 0, "at most %s", term.Bytes(o.MaxBytes))
	add(o.MaxBPW > 0, "at most %v bpw", o.MaxBPW)
	add(o.MinTPS > 0, "at least %v tokens/s", o.MinTPS)
	add(o.MaxRSS > 0, "in %s of memory", term.Bytes(o.MaxRSS))
	add(o.Budget > 0, "in %s", term.Duration(o.Budget))
	return strings.Join(parts, ", ")
}

// SearchText tells what a search with these options looks for.
func SearchText(o tune.Options) string {
	what := "the most accurate recipe"
	if goal := Aim(o); goal > 0 {
		what = fmt.Sprintf("the smallest recipe that adds at most %.2f %% to the perplexity", 100*goal)
	}
	if l := LimitsText(o); l != "" {
		what += ", " + l
	}
	return what
}
