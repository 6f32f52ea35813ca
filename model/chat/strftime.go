package chat

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"nibble/model/chat/jinja"
)

// strftimeNow is the function that templates get the date from.
func strftimeNow(now func() time.Time) jinja.Func {
	return func(args []any) (any, error) {
		if len(args) == 1 {
			if format, ok := args[0].(string); ok {
				return strftime(now(), format)
			}
		}
		return nil, errors.New("strftime_now takes one string, the format of the date")
	}
}

// directives are those of C's strftime in the C locale, as layouts of package
// time.
var directives = map[byte]string{
	'Y': "2006", 'y': "06",
	'm': "01", 'B': "January", 'b': "Jan", 'h': "Jan",
	'd': "02", 'e': "_2", 'j': "002", 'A': "Monday", 'a': "Mon",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
	'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06",
	'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05",
	'z': "-0700", 'Z': "MST",
}

// unpadded are glibc's forms after "%-", without zeros in front.
var unpadded = map[byte]string{'m': "1", 'd': "2", 'e': "2", 'I': "3", 'M': "4", 'S': "5"}

// strftime formats a time as Python's datetime.strftime does; a directive that
// it does not know is an error.
func strftime(t time.Time, format string) (string, error) {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(format, "%")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		layouts := directives
		if strings.HasPrefix(after, "-") {
			layouts, after = unpadded, after[1:]
		}
		if after == "" {
			return "", fmt.Errorf("strftime_now: %q ends in a directive", format)
		}
		layout, known := layouts[after[0]]
		switch {
		case after[0] == '%':
			b.WriteByte('%')
		case known:
			b.WriteString(t.Format(layout))
		default:
			return "", fmt.Errorf("strftime_now: the directive %%%c is not supported", after[0])
		}
		format = after[1:]
	}
}
