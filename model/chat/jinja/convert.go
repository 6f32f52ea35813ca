package jinja

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// truncate returns a float without its fraction as an integer.
func (r *renderer) truncate(f float64) int64 {
	if f != f || math.Abs(f) >= 1<<63 {
		r.fail("%s is no integer of 64 bits", spellFloat(f))
	}
	return int64(f)
}

// basePrefixes may stand before a number of their base.
var basePrefixes = map[int]string{2: "0b", 8: "0o", 16: "0x"}

// intFilter is Jinja2's int: an integer from a number or text, or a default.
func intFilter(r *renderer, v any, a []any) any {
	switch n := asNumber(v).(type) {
	case int64:
		return n
	case float64:
		if n != n {
			return a[0]
		}
		return r.truncate(n)
	}
	r.failUndefined(v)
	s, ok := asText(v)
	if !ok {
		return a[0]
	}
	base := r.integer(a[1], "the base")
	if base != 0 && (base < 2 || base > 36) {
		r.fail("the base %d is not between 2 and 36", base)
	}
	digits := plainNumber(s)
	if prefix, ok := basePrefixes[base]; ok && len(digits) > 2 && strings.EqualFold(digits[:2], prefix) {
		digits = digits[2:]
	}
	i, err := strconv.ParseInt(digits, base, 64)
	if err == nil {
		return i
	}
	if errors.Is(err, strconv.ErrRange) {
		r.failOverflow()
	}
	if f, ok := parseFloat(s); ok && f == f && !math.IsInf(f, 0) {
		return r.truncate(f)
	}
	return a[0]
}

// floatFilter is Jinja2's float.
func floatFilter(r *renderer, v any, a []any) any {
	if f, ok := asFloat(v); ok {
		return f
	}
	r.failUndefined(v)
	if s, ok := asText(v); ok {
		if f, ok := parseFloat(s); ok {
			return f
		}
	}
	return a[0]
}

// plainNumber drops what Python allows in numbers: space around them and
// underscores between digits.
func plainNumber(s string) string {
	s = strings.TrimFunc(s, isSpace)
	if strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") {
		return ""
	}
	return strings.ReplaceAll(s, "_", "")
}

func parseFloat(s string) (float64, bool) {
	s = plainNumber(s)
	if strings.ContainsAny(s, "xXpP") { // Go's hexadecimal floats
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil || math.IsInf(f, 0)
}

// absFilter is Python's abs.
func absFilter(r *renderer, v any, _ []any) any {
	if f, ok := v.(float64); ok {
		return math.Abs(f)
	}
	if n, ok := asNumber(v).(int64); ok && n >= 0 {
		return n
	}
	return r.negate(v)
}

// roundFilter is Jinja2's round, to a number of decimal places.
func roundFilter(r *renderer, v any, a []any) any {
	f, ok := asFloat(v)
	if !ok {
		r.failUndefined(v)
		r.fail("'%s' object cannot be rounded", typeName(v))
	}
	places := r.integer(a[0], "the precision")
	if places < -300 || places > 300 {
		r.fail("the precision %d is not between -300 and 300", places)
	}
	scale := math.Pow(10, float64(places))
	switch method := r.text(a[1], "the method"); method {
	case "ceil":
		return math.Ceil(f*scale) / scale
	case "floor":
		return math.Floor(f*scale) / scale
	case "common":
		n, isInt := asNumber(v).(int64)
		switch {
		case isInt && places >= 0:
			return n
		case isInt:
			return r.truncate(math.RoundToEven(f*scale) / scale)
		case places < 0:
			return math.RoundToEven(f*scale) / scale
		}
		// The decimal form rounds what the number really is, as Python does.
		rounded, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', places, 64), 64)
		return rounded
	default:
		r.fail("the method '%s' is not common, ceil or floor", method)
	}
	return nil
}
