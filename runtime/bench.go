package runtime

import (
	"context"
	"math"
	"time"
)

// BenchOptions configures Bench; the defaults are llama-bench's.
type BenchOptions struct {
	Prefill int // tokens of the prompt test; 0 skips it
	Decode  int // tokens of the generation test; 0 skips it
	Reps    int // repetitions, 5 if 0
}

// BenchResult holds tokens per second with their standard deviations.
type BenchResult struct {
	PrefillTPS float64 `json:"prefill_tps"`
	PrefillSD  float64 `json:"prefill_sd"`
	DecodeTPS  float64 `json:"decode_tps"`
	DecodeSD   float64 `json:"decode_sd"`
	ModelBytes int64   `json:"model_bytes"`
}

// BenchProgress is reported after every repetition.
type BenchProgress struct {
	Test string  `json:"test"` // "prefill" or "decode"
	Rep  int     `json:"rep"`
	Reps int     `json:"reps"`
	TPS  float64 `json:"tps"`
}

// EventName implements the house's event interface.
func (BenchProgress) EventName() string { return "bench_progress" }

// Bench measures prompt processing and generation as llama-bench defines them:
// a fresh context for each repetition, one unmeasured warm-up, logits of the last
// token only for the prompt, one token at a time from an empty context for
// generation. Tests longer than the context are cut to it.
func Bench(ctx context.Context, m *Model, o BenchOptions, on func(BenchProgress)) (res BenchResult, err error) {
	err = m.Guard(func() error {
		res, err = bench(ctx, m, o, on)
		return err
	})
	return res, err
}

func bench(ctx context.Context, m *Model, o BenchOptions, on func(BenchProgress)) (BenchResult, error) {
	if o.Reps <= 0 {
		o.Reps = 5
	}
	res := BenchResult{ModelBytes: m.Bytes()}
	limit := m.Config.Positions
	var err error
	if n := min(o.Prefill, limit); n > 0 {
		s := m.NewSession(n)
		res.PrefillTPS, res.PrefillSD, err = repeat(ctx, o.Reps, "prefill", n, on, func() error {
			s.Truncate(0)
			hidden, err := s.Forward(ctx, benchTokens(m, n))
			if err != nil {
				return err
			}
			logits := make([]float32, m.Config.Vocab)
			m.Logits(s.pass.Acts(), logits, hidden[len(hidden)-m.Config.Hidden:], 1)
			return nil
		})
		if err != nil {
			return res, err
		}
	}
	if n := min(o.Decode, limit); n > 0 {
		s := m.NewSession(n)
		res.DecodeTPS, res.DecodeSD, err = repeat(ctx, o.Reps, "decode", n, on, func() error {
			s.Truncate(0)
			logits := make([]float32, m.Config.Vocab)
			for _, id := range benchTokens(m, n) {
				hidden, err := s.Forward(ctx, []int32{id})
				if err != nil {
					return err
				}
				m.Logits(s.pass.Acts(), logits, hidden, 1)
			}
			return nil
		})
	}
	return res, err
}

// benchTokens is an arbitrary fixed sequence.
func benchTokens(m *Model, n int) []int32 {
	ids := make([]int32, n)
	x := uint32(1)
	for i := range ids {
		x = x*1664525 + 1013904223
		ids[i] = int32(x % uint32(m.Config.Vocab))
	}
	return ids
}

func repeat(ctx context.Context, reps int, test string, tokens int, on func(BenchProgress), f func() error) (mean, sd float64, err error) {
	var rates []float64
	for i := range reps + 1 {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		start := time.Now()
		if err := f(); err != nil {
			return 0, 0, err
		}
		if i == 0 {
			continue // warm-up
		}
		rates = append(rates, float64(tokens)/time.Since(start).Seconds())
		if on != nil {
			on(BenchProgress{test, i, reps, rates[len(rates)-1]})
		}
	}
	for _, r := range rates {
		mean += r / float64(len(rates))
	}
	for _, r := range rates {
		sd += (r - mean) * (r - mean)
	}
	if len(rates) > 1 {
		sd = math.Sqrt(sd / float64(len(rates)-1))
	}
	return mean, sd, nil
}
