package tokenizer

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// matchTimeout bounds one match of a regular expression from a hostile file.
const matchTimeout = 2 * time.Second

// expression is a regular expression as the tokenizers library has them: with
// look-ahead, which package regexp lacks, and so with backtracking. One that ran
// out of time matches nothing from then on.
type expression struct {
	re     *regexp2.Regexp
	gaveUp atomic.Bool
}

func compile(expr string) (*expression, error) {
	re, err := regexp2.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("%w: pattern %q: %v", ErrUnsupported, expr, err)
	}
	re.MatchTimeout = matchTimeout
	return &expression{re: re}, nil
}

// find appends the matches in s, but for empty ones.
func (e *expression) find(s string, spans []span) []span {
	if e.gaveUp.Load() {
		return spans
	}
	matches, err := e.re.FindAllStringIndex(s, -1)
	if err != nil {
		e.gaveUp.Store(true)
		return spans
	}
	for _, m := range matches {
		if m[1] > m[0] {
			spans = append(spans, span{m[0], m[1]})
		}
	}
	return spans
}

// replace puts a text in the place of all matches.
func (e *expression) replace(s, with string) string {
	if e.gaveUp.Load() {
		return s
	}
	out, err := e.re.ReplaceFunc(s, func(regexp2.Match) string { return with }, -1, -1)
	if err != nil {
		e.gaveUp.Store(true)
		return s
	}
	return out
}
