package arch

import (
	"bytes"
	"regexp"
)

// wrapped is how transformers 5 writes a number that JSON has not.
var wrapped = regexp.MustCompile(`\{\s*"__float__"\s*:\s*"(-?Infinity|NaN)"\s*\}`)

// numbers are what Python's JSON has and the standard has not, and what stands for
// them: the largest number, which limits nothing, and no value.
var numbers = []struct{ python, standard string }{
	{"Infinity", "1.7976931348623157e308"},
	{"NaN", "null"},
}

// StandardJSON turns what Python writes as JSON into what the standard calls so. It
// returns the text itself where there is nothing to do.
func StandardJSON(data []byte) []byte {
	if !bytes.Contains(data, []byte("Infinity")) && !bytes.Contains(data, []byte("NaN")) {
		return data
	}
	data = wrapped.ReplaceAll(data, []byte("$1"))
	var out []byte
	quoted := false
next:
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case quoted && b == '\\' && i+1 < len(data):
			out = append(out, b)
			i++
		case b == '"':
			quoted = !quoted
		case !quoted:
			for _, n := range numbers {
				if bytes.HasPrefix(data[i:], []byte(n.python)) {
					out = append(out, n.standard...)
					i += len(n.python) - 1
					continue next
				}
			}
		}
		out = append(out, data[i])
	}
	return out
}
