// Package term holds what every text that nibble prints has in common: cleaning
// of foreign text, human units, estimates of time left.
package term

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Clean makes foreign text safe to print: control characters, escape sequences
// among them, and characters that reorder what stands around them are dropped; line
// breaks and tabs stay, and so do invisible characters that belong to the writing,
// such as joiners. What is no UTF-8 becomes the replacement character.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\u2028' || r == '\u2029': // separators of lines and paragraphs
			return '\n'
		case r != '\n' && r != '\t' && controls(r):
			return -1
		}
		return r
	}, s)
}

// reordering are the characters that change the order or the form in which others
// are shown, far from where they stand: embeddings, overrides and isolates of the
// bidirectional algorithm, deprecated switches, annotations. Marks of direction
// (U+200E, U+200F) are not among them: they act as a letter would.
var reordering = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x202a, Hi: 0x202e, Stride: 1}, {Lo: 0x2066, Hi: 0x206f, Stride: 1}, {Lo: 0xfff9, Hi: 0xfffb, Stride: 1}}}

// controls reports whether a character controls the terminal or the layout of the
// text instead of belonging to it.
func controls(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(reordering, r) || r == '\u2028' || r == '\u2029'
}

// CleanLine is Clean for one line: line breaks and tabs become spaces.
func CleanLine(s string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(Clean(s))
}

// Word is CleanLine for an argument of a command to be copied: quoted where a shell
// would make more or something else of it.
func Word(s string) string {
	if s = CleanLine(s); s != "" && strings.Trim(s, wordLetters) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// wordLetters need no quotes in any shell.
const wordLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./:@%,"

// maxMessage is how long a message is shown, in characters. What a file says may be
// in it.
const maxMessage = 1000

// Shorten cuts the middle out of a long message: what it is about stands at its
// beginning, what to do at its end.
func Shorten(s string) string {
	r := []rune(s)
	if len(r) <= maxMessage {
		return s
	}
	return string(r[:3*maxMessage/4]) + " … " + string(r[len(r)-maxMessage/4:])
}

// CleanStyled is CleanLine for a line of a screen, in which the sequences that set
// colours and other styles stay.
func CleanStyled(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return controls(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	var b strings.Builder
	for {
		text, rest, found := strings.Cut(s, "\x1b")
		b.WriteString(CleanLine(text))
		if !found {
			return b.String()
		}
		if n := styleLength(rest); n > 0 {
			b.WriteString("\x1b" + rest[:n])
			rest = rest[n:]
		}
		s = rest
	}
}

// styleLength is the length of the sequence that sets styles ("[1;31m") at the
// beginning of s, 0 if there is none.
func styleLength(s string) int {
	if !strings.HasPrefix(s, "[") {
		return 0
	}
	end := strings.IndexFunc(s[1:], func(r rune) bool { return r != ';' && r != ':' && (r < '0' || r > '9') })
	if end < 0 || s[1+end] != 'm' {
		return 0
	}
	return end + 2
}

// OneLine is Clean for text whose line breaks matter: they become ↵, tabs ⇥.
func OneLine(s string) string {
	return strings.NewReplacer("\n", "↵", "\t", "⇥").Replace(Clean(s))
}

// UTF8 reports whether the locale that the environment names writes UTF-8; a
// system that names none is taken to.
func UTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // in the order of POSIX
		if v := strings.ToLower(getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}

// Bytes formats a size with three significant digits, "1.25 MB" (powers of 1000).
func Bytes(n int64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB"} {
		if math.Abs(v) < 999.5 || unit == "B" && math.Abs(v) < 1000 { // 999.5 would be printed as 1000
			break
		}
		v, unit = v/1000, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return Digits(v) + " " + unit
}

// Count formats a number of things, "1.1M".
func Count(n int64) string {
	v, unit := float64(n), ""
	for _, u := range []string{"k", "M", "G"} {
		if v < 999.5 || unit == "" && v < 1000 {
			break
		}
		v, unit = v/1000, u
	}
	if unit == "" {
		return fmt.Sprint(n)
	}
	return Digits(v) + unit
}

// Digits formats with three significant digits and no exponent.
func Digits(v float64) string {
	switch a := math.Abs(v); {
	case a >= 99.95 || a == 0:
		return fmt.Sprintf("%.0f", v)
	case a >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// Duration formats a span of time for a progress line: "850 ms", "3.2 s",
// "4m05s", "2h03m".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "—"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute-50*time.Millisecond: // what is left would be printed as 60.0
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return "1m00s"
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// Seconds is Duration for a number of seconds.
func Seconds(s float64) string { return Duration(time.Duration(s * float64(time.Second))) }

// Percent formats a ratio's distance from one, "+0.65 %".
func Percent(ratio float64) string { return Fixed("%+.2f", 100*ratio) + " %" }

// PercentSE is Percent with a standard error, "+0.65 % ± 0.12 %".
func PercentSE(ratio, se float64) string {
	return Percent(ratio) + " ± " + Fixed("%.2f", 100*se) + " %"
}

// Measured formats a measurement with its standard error, "4.8443 ± 0.0644".
func Measured(v, se float64) string { return Fixed("%.4f", v) + " ± " + Fixed("%.4f", se) }

// Fixed formats a number by a verb with a fixed number of digits ("%.4f"): what is
// too large for those has an exponent, and what no digits tell is "inf" or "nan".
func Fixed(verb string, v float64) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, -1):
		return "-inf"
	case math.IsInf(v, 1) && strings.HasPrefix(verb, "%+"):
		return "+inf"
	case math.IsInf(v, 1):
		return "inf"
	case math.Abs(v) >= 1e9:
		verb = verb[:len(verb)-1] + "e"
	}
	return fmt.Sprintf(verb, v)
}

// ETA estimates the time left from the progress of the last seconds, so that it
// follows a rate that changes.
type ETA struct {
	window  time.Duration
	samples []sample
}

type sample struct {
	at   time.Time
	done float64
}

// NewETA looks back the given time.
func NewETA(window time.Duration) *ETA { return &ETA{window: window} }

// Add records that a share, 0 to 1, is done.
func (e *ETA) Add(now time.Time, done float64) {
	e.samples = append(e.samples, sample{now, done})
	for len(e.samples) > 2 && now.Sub(e.samples[1].at) > e.window {
		e.samples = e.samples[1:]
	}
}

// Rate returns the share that is done a second, 0 while unknown.
func (e *ETA) Rate() float64 {
	if len(e.samples) < 2 {
		return 0
	}
	first, last := e.samples[0], e.samples[len(e.samples)-1]
	return max(0, last.done-first.done) / max(1e-9, last.at.Sub(first.at).Seconds())
}

// Left returns the time left, negative while unknown.
func (e *ETA) Left() time.Duration {
	if len(e.samples) < 2 {
		return -1
	}
	first, last := e.samples[0], e.samples[len(e.samples)-1]
	gained := last.done - first.done
	if gained <= 0 {
		return -1
	}
	return time.Duration(float64(last.at.Sub(first.at)) * (1 - last.done) / gained)
}
