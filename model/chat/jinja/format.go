package jinja

import (
	"fmt"
	"strconv"
	"strings"
)

// formatMethod is Python's str.format, with fields "{}", "{0}" and "{name}".
// https://docs.python.org/3/library/string.html#format-string-syntax
func formatMethod(r *renderer, self any, a arguments) any {
	spell := r.str
	if isSafe(self) {
		spell = r.escape
	}
	var b strings.Builder
	next := 0
	for s := selfText(self); s != ""; {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		if strings.HasPrefix(s[i:], "{{") || strings.HasPrefix(s[i:], "}}") {
			b.WriteByte(s[i])
			s = s[i+2:]
			continue
		}
		field, rest, ok := strings.Cut(s[i+1:], "}")
		if !ok || s[i] == '}' {
			r.fail("the format has a single %q", s[i])
		}
		if field == "" {
			field = strconv.Itoa(next)
			next++
		}
		text := spell(r.field(field, a))
		r.spendText(len(text))
		b.WriteString(text)
		s = rest
	}
	return like(self, b.String())
}

// field finds the argument a field of a format names.
func (r *renderer) field(name string, a arguments) any {
	if i, err := strconv.Atoi(name); err == nil {
		if i < 0 || i >= len(a.pos) {
			r.fail("the format has no argument %d", i)
		}
		return a.pos[i]
	}
	if strings.IndexFunc(name, func(c rune) bool { return !isNamePart(c) }) >= 0 {
		r.fail("the format field '%s' is not supported (a number or name is)", name)
	}
	v, ok := a.get(name)
	if !ok {
		r.fail("the format has no argument '%s'", name)
	}
	return v
}

// percent is the operator % of texts: Python's printf
// (https://docs.python.org/3/library/stdtypes.html#printf-style-string-formatting).
func (r *renderer) percent(self any, format string, operand any) any {
	r.spendText(len(format))
	args := []any{operand}
	dict, named := operand.(*Dict)
	optional := named // Python takes more values for mappings
	switch x := operand.(type) {
	case undefined:
		optional = true
	case *List:
		if optional = !x.tuple; x.tuple {
			args = x.Items
		}
	}
	var b strings.Builder
	used := 0
	for format != "" {
		before, verb, ok := strings.Cut(format, "%")
		b.WriteString(before)
		if !ok {
			break
		}
		d := r.directive(verb)
		format = verb[d.size:]
		if d.verb == '%' {
			b.WriteByte('%')
			continue
		}
		var v any
		switch {
		case d.key != "" && named:
			if v, ok = dict.Get(d.key); !ok {
				r.fail("the format has no argument '%s'", d.key)
			}
		case d.key != "":
			r.fail("the format needs a mapping")
		case used < len(args):
			v = args[used]
			used++
		default:
			r.fail("the format needs more than %d argument(s)", len(args))
		}
		text := r.printf(d, v, isSafe(self))
		r.spendText(len(text))
		b.WriteString(text)
	}
	if used < len(args) && !optional {
		r.fail("the format does not use all of its %d argument(s)", len(args))
	}
	return like(self, b.String())
}

// directive is what follows a "%".
type directive struct {
	key       string // in parentheses
	flags     string
	width     int
	precision int // -1: none
	verb      byte
	size      int // of the text it was read from
}

func (r *renderer) directive(s string) directive {
	d := directive{precision: -1}
	rest := s
	if strings.HasPrefix(rest, "(") {
		key, after, ok := strings.Cut(rest[1:], ")")
		if !ok || key == "" {
			r.fail("the format has an incomplete key")
		}
		d.key, rest = key, after
	}
	after := strings.TrimLeft(rest, "-+ 0")
	d.flags, rest = rest[:len(rest)-len(after)], after
	d.width, rest = r.formatNumber(rest)
	if strings.HasPrefix(rest, ".") {
		d.precision, rest = r.formatNumber(rest[1:])
	}
	if rest == "" {
		r.fail("the format ends in a directive")
	}
	d.verb = rest[0]
	d.size = len(s) - len(rest) + 1
	return d
}

// formatNumber reads a width or precision.
func (r *renderer) formatNumber(s string) (n int, rest string) {
	rest = strings.TrimLeft(s, "0123456789")
	digits := s[:len(s)-len(rest)]
	if digits == "" {
		return 0, rest
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n > 1000 {
		r.fail("the format asks for a width or precision of %s (1000 at most)", digits)
	}
	return n, rest
}

// printf spells one argument.
func (r *renderer) printf(d directive, v any, escape bool) string {
	format := "%" + d.flags
	if d.width > 0 {
		format += strconv.Itoa(d.width)
	}
	if d.precision >= 0 {
		format += "." + strconv.Itoa(d.precision)
	}
	switch d.verb {
	case 's', 'r':
		text := r.str(v)
		if d.verb == 'r' {
			text = r.repr(v)
		}
		if escape && !isSafe(v) {
			text = r.escape(text)
		}
		flags := strings.Map(func(c rune) rune { // the others mean something else for Go's texts
			if c == '-' {
				return c
			}
			return -1
		}, d.flags)
		return fmt.Sprintf(strings.Replace(format, d.flags, flags, 1)+"s", text)
	case 'd', 'i', 'u', 'x', 'X', 'o':
		n, ok := asNumber(v).(int64)
		if f, isFloat := v.(float64); isFloat && d.verb != 'x' && d.verb != 'X' && d.verb != 'o' {
			n, ok = r.truncate(f), true
		}
		if !ok {
			r.fail("the format needs an integer, not '%s'", typeName(v))
		}
		verb := string(d.verb)
		if d.verb == 'i' || d.verb == 'u' {
			verb = "d"
		}
		return fmt.Sprintf(format+verb, n)
	case 'e', 'E', 'f', 'F', 'g', 'G':
		f, ok := asFloat(v)
		if !ok {
			r.fail("the format needs a number, not '%s'", typeName(v))
		}
		if d.precision < 0 {
			format += ".6"
		}
		return fmt.Sprintf(format+string(d.verb), f)
	}
	r.fail("the format directive %%%c is not supported", d.verb)
	return ""
}
