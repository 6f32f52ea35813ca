package tokenizer

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dlclark/regexp2/v2"

	"nibble/model/tokenizer/oniguruma"
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
	translated, err := oniguruma.Translate(expr)
	if err != nil {
		return nil, fmt.Errorf("%w: pattern %q: %w", ErrUnsupported, expr, err)
	}
	re, err := regexp2.Compile(translated)
	if err != nil {
		return nil, fmt.Errorf("%w: pattern %q: %v", ErrUnsupported, expr, err)
	}
	re.MatchTimeout = matchTimeout
	return &expression{re: re}, nil
}

// find appends the matches in s. An empty one stands between two characters.
func (e *expression) find(s string, spans []span) []span {
	if s == "" || e.gaveUp.Load() { // in nothing, not even nothing is found
		return spans
	}
	matches, err := e.re.FindAllStringIndex(s, -1)
	if err != nil {
		e.gaveUp.Store(true)
		return spans
	}
	for _, m := range matches {
		spans = append(spans, span{m[0], m[1]})
	}
	return spans
}

// replace puts a text in the place of all matches.
func (e *expression) replace(s, with string) string {
	var b strings.Builder
	at := 0
	for _, m := range e.find(s, nil) {
		b.WriteString(s[at:m.begin])
		b.WriteString(with)
		at = m.end
	}
	b.WriteString(s[at:])
	return b.String()
}
