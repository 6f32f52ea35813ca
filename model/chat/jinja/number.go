package jinja

import (
	"math"
	"math/bits"
)

// arith evaluates a binary operator of numbers, texts or lists.
func (r *renderer) arith(op string, a, b any) any {
	r.failUndefined(a)
	if s, ok := asText(a); ok && op == "%" {
		return r.percent(a, s, b)
	}
	r.failUndefined(b)
	switch op {
	case "+":
		if v := r.join(a, b); v != nil {
			return v
		}
	case "*":
		if v := r.repeat(a, b); v != nil {
			return v
		}
		if v := r.repeat(b, a); v != nil {
			return v
		}
	}
	x, y := asNumber(a), asNumber(b)
	i, ok1 := x.(int64)
	j, ok2 := y.(int64)
	if ok1 && ok2 {
		return r.arithInt(op, i, j)
	}
	f, ok1 := asFloat(x)
	g, ok2 := asFloat(y)
	if !ok1 || !ok2 {
		r.fail("'%s' cannot be applied to '%s' and '%s'", op, typeName(a), typeName(b))
	}
	return r.arithFloat(op, f, g)
}

// join is + of texts and lists. Safe text escapes the other side.
func (r *renderer) join(a, b any) any {
	if s, ok := asText(a); ok {
		t, ok := asText(b)
		if !ok {
			return nil
		}
		r.spendText(len(s) + len(t))
		if isSafe(a) || isSafe(b) {
			return safe(r.escape(a) + r.escape(b))
		}
		return s + t
	}
	x, ok1 := a.(*List)
	y, ok2 := b.(*List)
	if !ok1 || !ok2 || x.tuple != y.tuple {
		return nil
	}
	r.spend(len(x.Items) + len(y.Items))
	items := make([]any, 0, len(x.Items)+len(y.Items))
	return &List{Items: append(append(items, x.Items...), y.Items...), tuple: x.tuple}
}

// repeat is * of a text or list and an integer.
func (r *renderer) repeat(v, times any) any {
	n, ok := asNumber(times).(int64)
	if !ok {
		return nil
	}
	n = min(max(n, 0), maxInt)
	if s, ok := asText(v); ok {
		return like(v, r.repeatText(s, int(n)))
	}
	if l, ok := v.(*List); ok {
		r.spendTimes(int(n), len(l.Items)*textUnit)
		items := make([]any, 0, int(n)*len(l.Items))
		for range int(n) * min(len(l.Items), 1) {
			items = append(items, l.Items...)
		}
		return &List{Items: items, tuple: l.tuple}
	}
	return nil
}

func (r *renderer) arithInt(op string, a, b int64) any {
	switch op {
	case "+":
		if sum := a + b; (sum > a) == (b > 0) {
			return sum
		}
	case "-":
		if diff := a - b; (diff < a) == (b > 0) {
			return diff
		}
	case "*":
		if p, ok := mulInt(a, b); ok {
			return p
		}
	case "/":
		if b == 0 {
			r.fail("division by zero")
		}
		return float64(a) / float64(b)
	case "//", "%":
		if b == 0 {
			r.fail("division by zero")
		}
		if b == -1 { // the one quotient that may not fit
			if op == "%" {
				return int64(0)
			}
			return r.negate(a)
		}
		q, m := a/b, a%b
		if m != 0 && (m < 0) != (b < 0) { // Python rounds down
			q, m = q-1, m+b
		}
		if op == "%" {
			return m
		}
		return q
	case "**":
		if b < 0 {
			return r.arithFloat(op, float64(a), float64(b))
		}
		if p, ok := powInt(a, b); ok {
			return p
		}
	}
	r.failOverflow()
	return nil
}

// mulInt multiplies; ok is false where the product does not fit.
func mulInt(a, b int64) (p int64, ok bool) {
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	negative := (a < 0) != (b < 0)
	if hi != 0 || lo > math.MaxInt64 && (!negative || lo > 1<<63) {
		return 0, false
	}
	if negative {
		return int64(-lo), true
	}
	return int64(lo), true
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// powInt raises a to a power that is not negative.
func powInt(a, n int64) (p int64, ok bool) {
	if a == 0 || a == 1 || a == -1 {
		n = min(n, 2+n%2) // the same, without the way there
	}
	p = 1
	for ; n > 0; n-- {
		if p, ok = mulInt(p, a); !ok { // after at most 64 steps
			return 0, false
		}
	}
	return p, true
}

func (r *renderer) arithFloat(op string, a, b float64) any {
	if b == 0 && (op == "/" || op == "//" || op == "%") || a == 0 && b < 0 && op == "**" {
		r.fail("division by zero")
	}
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return a / b
	case "//":
		return math.Floor((a - modulo(a, b)) / b)
	case "%":
		return modulo(a, b)
	}
	p := math.Pow(a, b) // "**"
	if math.IsInf(p, 0) && !math.IsInf(a, 0) && !math.IsInf(b, 0) {
		r.fail("the power is too large")
	}
	if p != p && a == a && b == b {
		r.fail("the power is no real number")
	}
	return p
}

// modulo is Python's %, whose result has the sign of b.
func modulo(a, b float64) float64 {
	m := math.Mod(a, b)
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return m
}

// negate is the sign -.
func (r *renderer) negate(v any) any {
	switch n := asNumber(v).(type) {
	case int64:
		if n == math.MinInt64 {
			r.failOverflow()
		}
		return -n
	case float64:
		return -n
	}
	r.failUndefined(v)
	r.fail("'-' cannot be applied to '%s'", typeName(v))
	return nil
}

func (r *renderer) failOverflow() { r.fail("the integer does not fit into 64 bits") }

// maxInt is more than there is of anything, and far from overflow.
const maxInt = math.MaxInt >> 10

// integer returns v as an integer, at most maxInt in size; what names it.
func (r *renderer) integer(v any, what string) int {
	n, ok := asNumber(v).(int64)
	if !ok {
		r.failUndefined(v)
		r.fail("%s must be an integer, not '%s'", what, typeName(v))
	}
	return int(min(max(n, -maxInt), maxInt))
}
