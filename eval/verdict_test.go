package eval

import (
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name            string
		ratio, se, goal float64
		want            string
	}{
		{"clearly better", 1.005, 0.001, 0.01, "within the goal: perplexity +0.50 % ± 0.10 %, the goal is +1.00 %"},
		{"better than the base", 0.99, 0.001, 0.01, "within the goal: perplexity -1.00 %"},
		{"clearly worse", 1.02, 0.001, 0.01, "beyond the goal: perplexity +2.00 %"},
		{"near", 1.0095, 0.00101, 0.01, "; about 17 times the text would decide"},
		{"on the spot", 1.01, 0.001, 0.01, "; more text would hardly decide"},
		{"no error", 1, 0, 0.01, "within the goal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Result{Comparison: &Comparison{PPLRatio: c.ratio, PPLRatioSE: c.se}}
			if got := r.Verdict(c.goal); !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q in it", got, c.want)
			}
		})
	}
	if got := (Result{}).Verdict(0.01); got != "" {
		t.Errorf("without a comparison: %q", got)
	}
}
