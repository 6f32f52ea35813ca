package chat

import (
	"testing"
	"time"
)

// The answers are those of Python's datetime.strftime in the C locale.
func TestStrftime(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for format, want := range map[string]string{
		"":              "",
		"plain":         "plain",
		"%Y-%m-%d":      "2026-01-02",
		"%d %b %Y":      "02 Jan 2026",
		"%d %B %Y":      "02 January 2026",
		"%A, %B %d, %Y": "Friday, January 02, 2026",
		"%a %e %h %y":   "Fri  2 Jan 26",
		"%H:%M:%S":      "15:04:05",
		"%I:%M %p":      "03:04 PM",
		"%j":            "002",
		"%F %T":         "2026-01-02 15:04:05",
		"%R":            "15:04",
		"%D":            "01/02/26",
		"%c":            "Fri Jan  2 15:04:05 2026",
		"%x %X":         "01/02/26 15:04:05",
		"%z":            "+0000",
		"%Z":            "UTC",
		"100%%":         "100%",
		"%-d/%-m":       "2/1",
		"%-I:%-M:%-S":   "3:4:5",
		"äö %Y":         "äö 2026",
	} {
		if got, err := strftime(at, format); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", format, got, err, want)
		}
	}
	for _, format := range []string{"%", "%Q", "%-", "%-Q", "x%"} {
		if got, err := strftime(at, format); err == nil {
			t.Errorf("%q: %q, want an error", format, got)
		}
	}
	f := strftimeNow(func() time.Time { return at })
	for _, args := range [][]any{nil, {int64(1)}, {"%Y", "%Y"}} {
		if got, err := f(args); err == nil {
			t.Errorf("%v: %v, want an error", args, got)
		}
	}
}
