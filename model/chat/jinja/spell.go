package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// str is Python's str(): how a value is printed.
func (r *renderer) str(v any) string {
	if s, ok := asText(v); ok {
		return s
	}
	if _, ok := v.(undefined); ok {
		return ""
	}
	return r.repr(v)
}

// repr is Python's repr(): how a value is printed inside of a container.
func (r *renderer) repr(v any) string {
	var b strings.Builder
	r.writeRepr(&b, v)
	return b.String()
}

func (r *renderer) writeRepr(b *strings.Builder, v any) {
	r.enter()
	defer r.leave()
	r.spend(1)
	switch x := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if x {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(x, 10))
	case float64:
		b.WriteString(spellFloat(x))
	case string:
		r.spendText(4 * len(x)) // at most, with escapes
		writeQuoted(b, x)
	case safe:
		b.WriteString("Markup(")
		r.writeRepr(b, string(x))
		b.WriteByte(')')
	case undefined:
		b.WriteString("Undefined")
	case *List:
		r.writeListRepr(b, x)
	case *Dict:
		b.WriteByte('{')
		for i, key := range x.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			r.writeRepr(b, key)
			b.WriteString(": ")
			r.writeRepr(b, x.item(key))
		}
		b.WriteByte('}')
	default:
		fmt.Fprintf(b, "<%s>", typeName(v))
	}
}

func (r *renderer) writeListRepr(b *strings.Builder, l *List) {
	left, right := "[", "]"
	if l.tuple {
		left, right = "(", ")"
		if len(l.Items) == 1 {
			right = ",)"
		}
	}
	b.WriteString(left)
	for i, item := range l.Items {
		if i > 0 {
			b.WriteString(", ")
		}
		r.writeRepr(b, item)
	}
	b.WriteString(right)
}

// spellFloat writes the fewest digits that give the number back, with an
// exponent where Python has one.
func spellFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case f != f:
		return "nan"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// writeQuoted writes a string as Python's source has it.
func writeQuoted(b *strings.Builder, s string) {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b.WriteRune(quote)
	for _, c := range s {
		switch {
		case c == quote || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(c):
			b.WriteRune(c)
		case c < 0x100:
			fmt.Fprintf(b, `\x%02x`, c)
		case c < 0x10000:
			fmt.Fprintf(b, `\u%04x`, c)
		default:
			fmt.Fprintf(b, `\U%08x`, c)
		}
	}
	b.WriteRune(quote)
}
