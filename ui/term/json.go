package term

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// EscapeJSON writes the characters of a JSON text that a terminal would obey as
// \u escapes: the same value, safe to look at. Of these JSON itself escapes only
// those below the space.
func EscapeJSON(text string) string {
	if strings.IndexFunc(text, controls) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if !controls(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
