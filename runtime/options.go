package runtime

import (
	"errors"
	"fmt"
)

// ErrOptions reports generation options out of range.
var ErrOptions = errors.New("generation options")

// GenOptions configures generation; the zero value is greedy. The samplers work
// in the order in which llama.cpp chains its own: repetition penalty, top-k, top-p,
// min-p, temperature
// (https://github.com/ggml-org/llama.cpp/tree/master/tools/completion).
type GenOptions struct {
	MaxTokens     int       // 0: until the context is full
	MaxLength     int       // tokens of the prompt and the answer; 0, and what the prompt alone reaches: no limit
	Temp          float64   // 0 is greedy
	TopK          int       // keep the k likeliest tokens; 0 keeps all
	TopP          float64   // keep the likeliest of those up to this share of their mass; 1 keeps all, 0 the likeliest alone
	MinP          float64   // drop tokens less likely than this share of the likeliest; 0 keeps all
	RepeatPenalty float64   // divides the logits of all tokens before; 0 and 1 do nothing
	Banned        [][]int32 // sequences of tokens that are not generated
	Seed          uint64    // same seed, same text
	Stop          []string  // end before any of these; special tokens count as they are spelled
	IgnoreEOS     bool      // go on after the end token
}

// Validate checks the ranges.
func (o GenOptions) Validate() error {
	switch {
	case o.MaxTokens < 0:
		return fmt.Errorf("%w: the number of tokens, %d, is negative", ErrOptions, o.MaxTokens)
	case o.MaxLength < 0:
		return fmt.Errorf("%w: the length, %d tokens, is negative", ErrOptions, o.MaxLength)
	case !(o.Temp >= 0 && o.Temp <= 100):
		return fmt.Errorf("%w: temperature %g is not between 0 and 100", ErrOptions, o.Temp)
	case o.TopK < 0:
		return fmt.Errorf("%w: top-k %d is negative", ErrOptions, o.TopK)
	case !(o.TopP >= 0 && o.TopP <= 1):
		return fmt.Errorf("%w: top-p %g is not between 0 and 1", ErrOptions, o.TopP)
	case !(o.MinP >= 0 && o.MinP <= 1):
		return fmt.Errorf("%w: min-p %g is not between 0 and 1", ErrOptions, o.MinP)
	case !(o.RepeatPenalty >= 0 && o.RepeatPenalty <= 10):
		return fmt.Errorf("%w: repetition penalty %g is not between 0 and 10", ErrOptions, o.RepeatPenalty)
	}
	return nil
}
