package eval

import (
	"math"
	"testing"
)

func TestVerdict(t *testing.T) {
	const many = 10000
	inf := math.Inf(1)
	for _, c := range []struct {
		name     string
		evidence Evidence
		want     string
	}{
		{"clearly better", Evidence{0.005, 0.001, many, 38, 38}, "reached: perplexity +0.50 % ± 0.10 %, the goal is +1.00 %"},
		{"better than the base", Evidence{-0.01, 0.001, many, 38, 38}, "reached: perplexity -1.00 % ± 0.10 %, the goal is +1.00 %"},
		{"just so", Evidence{0.0079, 0.001, many, 38, 38}, "reached: perplexity +0.79 % ± 0.10 %, the goal is +1.00 %"},
		{"not quite", Evidence{0.0081, 0.001, many, 38, 38}, "undecided: perplexity +0.81 % ± 0.10 %, the goal is +1.00 %; a longer text would decide: about 43 windows, this one has 38"},
		{"clearly worse", Evidence{0.02, 0.001, many, 38, 38}, "missed: perplexity +2.00 % ± 0.10 %, the goal is +1.00 %"},
		{"worse, not quite", Evidence{0.0119, 0.001, many, 10, 38}, "undecided: perplexity +1.19 % ± 0.10 %, the goal is +1.00 %; about 2 more windows would decide; the text has 38"},
		{"worse, just so", Evidence{0.0121, 0.001, many, 38, 38}, "missed: perplexity +1.21 % ± 0.10 %, the goal is +1.00 %"},
		{"three windows", Evidence{0.0092, 0.007, 765, 3, 38}, "undecided: perplexity +0.92 % ± 0.70 %, the goal is +1.00 %; it is so near that more text would hardly decide"},
		{"no error", Evidence{0, 0, many, 38, 38}, "reached: perplexity +0.00 % ± 0.00 %, the goal is +1.00 %"},
		{"on the spot", Evidence{0.01, 0, many, 38, 38}, "reached: perplexity +1.00 % ± 0.00 %, the goal is +1.00 %"},
		{"one token", Evidence{0, 0, 1, 1, 1}, "undecided: perplexity +0.00 % ± 0.00 %, the goal is +1.00 %; 1 tokens tell nothing: a longer text would decide, or longer windows"},
		{"infinite", Evidence{inf, inf, many, 38, 38}, "missed: perplexity inf % ± inf %, the goal is +1.00 %"},
		{"not a number", Evidence{math.NaN(), math.NaN(), many, 38, 38}, "undecided: perplexity nan % ± nan %, the goal is +1.00 %; the loss is not a number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.evidence.Judge(0.01).Sentence(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	if got := (Result{}).Verdict(0.01).Sentence(); got != "" {
		t.Errorf("without a comparison: %q", got)
	}
	r := Result{Tokens: many, Windows: 5, WindowsInText: 9, Comparison: &Comparison{PPLRatio: 1.02, PPLRatioSE: 0.001}}
	if got := r.Verdict(0.01); got.Word != Missed || got.Goal != 0.01 || math.Abs(got.Loss-0.02) > 1e-12 || got.LossSE != 0.001 {
		t.Errorf("%+v", got)
	}
}
