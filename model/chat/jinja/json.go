package jinja

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// jsonWriter writes values as Python's json.dumps does
// (https://docs.python.org/3/library/json.html).
type jsonWriter struct {
	r       *renderer
	b       strings.Builder
	ascii   bool    // write other characters as \u escapes
	indent  *string // of each level, on lines of their own; nil: all on one line
	comma   string
	colon   string
	sorted  bool
	newline string // with the current indentation
}

// tojson is transformers' filter, which escapes no characters of HTML.
func tojson(r *renderer, v any, a []any) any {
	w := &jsonWriter{r: r, ascii: truth(a[0]), comma: ", ", colon: ": ", sorted: truth(a[3]), newline: "\n"}
	if a[1] != nil {
		indent, ok := asText(a[1])
		if !ok {
			indent = r.repeatText(" ", r.integer(a[1], "indent"))
		}
		w.indent, w.comma = &indent, ","
	}
	if a[2] != nil {
		s := r.elements(a[2])
		if len(s) != 2 {
			r.fail("separators must be two strings")
		}
		w.comma, w.colon = r.text(s[0], "a separator"), r.text(s[1], "a separator")
	}
	w.write(v)
	return w.b.String()
}

func (w *jsonWriter) write(v any) {
	w.r.enter()
	defer w.r.leave()
	w.r.spend(1)
	if s, ok := asText(v); ok {
		w.text(s)
		return
	}
	switch x := v.(type) {
	case *List:
		w.container('[', ']', len(x.Items), func(i int) { w.write(x.Items[i]) })
	case *Dict:
		keys := x.keys
		if w.sorted {
			w.r.spend(len(keys))
			keys = slices.Clone(keys)
			slices.SortStableFunc(keys, w.r.order)
		}
		w.container('{', '}', len(keys), func(i int) {
			w.key(keys[i])
			w.put(w.colon)
			w.write(x.item(keys[i]))
		})
	default:
		s, ok := jsonScalar(v)
		if !ok {
			w.r.fail("'%s' has no form in JSON", typeName(v))
		}
		w.put(s)
	}
}

func (w *jsonWriter) container(left, right byte, n int, element func(int)) {
	w.b.WriteByte(left)
	outer := w.newline
	if w.indent != nil && n > 0 {
		w.r.spendText(len(outer) + len(*w.indent))
		w.newline += *w.indent
	}
	for i := range n {
		if i > 0 {
			w.put(w.comma)
		}
		if w.indent != nil {
			w.put(w.newline)
		}
		element(i)
	}
	w.newline = outer
	if w.indent != nil && n > 0 {
		w.put(outer)
	}
	w.b.WriteByte(right)
}

func (w *jsonWriter) key(key any) {
	s, ok := asText(key)
	if !ok {
		if s, ok = jsonScalar(key); !ok {
			w.r.fail("'%s' cannot be a key in JSON", typeName(key))
		}
	}
	w.text(s)
}

// put writes text that is JSON already.
func (w *jsonWriter) put(s string) {
	w.r.spendText(len(s))
	w.b.WriteString(s)
}

// jsonScalar writes a value that is neither text nor container.
func jsonScalar(v any) (string, bool) {
	switch x := v.(type) {
	case nil:
		return "null", true
	case bool:
		return strconv.FormatBool(x), true
	case int64:
		return strconv.FormatInt(x, 10), true
	case float64:
		switch {
		case math.IsInf(x, 1):
			return "Infinity", true
		case math.IsInf(x, -1):
			return "-Infinity", true
		case x != x:
			return "NaN", true
		}
		return spellFloat(x), true
	}
	return "", false
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func (w *jsonWriter) text(s string) {
	w.r.spendText(6 * len(s)) // at most, with escapes
	w.b.WriteByte('"')
	for _, c := range s {
		switch escape, ok := jsonEscapes[c]; {
		case ok:
			w.b.WriteString(escape)
		case c < ' ' || w.ascii && c > '~' && c < 0x10000:
			fmt.Fprintf(&w.b, `\u%04x`, c)
		case w.ascii && c >= 0x10000: // as two surrogates
			fmt.Fprintf(&w.b, `\u%04x\u%04x`, 0xd800+(c-0x10000)>>10, 0xdc00+(c-0x10000)&0x3ff)
		default:
			w.b.WriteRune(c)
		}
	}
	w.b.WriteByte('"')
}
