package jinja

import (
	"errors"
	"strings"
	"testing"
)

// render parses and renders a template with limits.
func render(t *testing.T, src string, limits Limits) (string, error) {
	t.Helper()
	tmpl, err := Parse(src)
	if err != nil {
		return "", err
	}
	return tmpl.Render(t.Context(), nil, limits)
}

func TestSyntaxErrors(t *testing.T) {
	for src, message := range map[string]string{
		"{% if x %}":  "elif or else or endif",
		"{% endif %}": "unknown tag 'endif'",
		"{% if 1 %}{% else %}{% else %}{% endif %}": "unknown tag 'else'",
		"{% for %}{% endfor %}":                     "expected a name",
		"{% for x %}{% endfor %}":                   "expected 'in'",
		"{{ ":                                       "not closed by }}",
		"{{ }}":                                     "expected an expression",
		"{{ 1 + }}":                                 "expected an expression",
		"{{ (1 }}":                                  "expected ')'",
		"{{ 1) }}":                                  "unexpected ')'",
		"{{ [1 }}":                                  "expected ']'",
		"{{ {1} }}":                                 "expected ':'",
		"{{ 'abc }}":                                "a string is not closed",
		"{{ a b }}":                                 "expected }}, got 'b'",
		"{{ a. }}":                                  "a name or a number",
		"{{ $ }}":                                   "unexpected character '$'",
		"{{ a | }}":                                 "expected a name",
		"{{ a is }}":                                "expected a name",
		"{{ x is defined is none }}":                "cannot be chained",
		"{{ f(a=1, 2) }}":                           "without a name after",
		"{{ f(*a) }}":                               "expected an expression",
		"{% include 'x' %}":                         "unknown tag 'include'",
		"{% break %}":                               "outside of a loop",
		"{% for x in y %}{% macro m() %}{% continue %}{% endmacro %}{% endfor %}": "outside of a loop",
		"{% set true = 1 %}":                  "cannot assign to 'true'",
		"{% set 1 = 1 %}":                     "expected a name",
		"{% set a.b.c = 1 %}":                 "expected %}",
		"{% macro m(a=1, b) %}{% endmacro %}": "'b' needs a default",
		"{% call 5 %}{% endcall %}":           "expected a call",
		"{# x":                                "a comment is not closed",
		"{% raw %}{% endraw":                  "a raw block is not closed",
		"{{ 99999999999999999999 }}":          "64 bits",
		"{{ 1e999 }}":                         "too large",
		`{{ '\xZZ' }}`:                        "no character",
		`{{ "\u12" }}`:                        "needs 4",
		`{{ "\U00110000" }}`:                  "no character",
	} {
		_, err := Parse(src)
		if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %v; want a syntax error with %q", src, err, message)
		}
	}
}

// What fails in Jinja2 fails here too, and says why.
func TestRenderErrors(t *testing.T) {
	for src, message := range map[string]string{
		"1 + 'a'":                          "'+' cannot be applied to 'int' and 'str'",
		"'a' + 1":                          "'+' cannot be applied to 'str' and 'int'",
		"x.y":                              "'x' is undefined",
		"x['y']":                           "'x' is undefined",
		"x[1:]":                            "'x' is undefined",
		"x()":                              "'x' is undefined",
		"x + 1":                            "'x' is undefined",
		"1 + x":                            "'x' is undefined",
		"-x":                               "'x' is undefined",
		"x < 1":                            "'x' is undefined",
		"x in 'a'":                         "'x' is undefined",
		"x|int":                            "'x' is undefined",
		"x|round":                          "'x' is undefined",
		"{'a': 1}.b.c":                     "'dict object' has no attribute 'b'",
		"'a'.foo()":                        "'str object' has no attribute 'foo'",
		"[].append(1)":                     "'append' of 'list' changes it",
		"{}.update({})":                    "'update' of 'dict' changes it",
		"none()":                           "'None' object cannot be called",
		"'a' < 1":                          "cannot be ordered",
		"[1] < (2,)":                       "cannot be ordered",
		"none < 1":                         "cannot be ordered",
		"[1, 'a']|sort":                    "cannot be ordered",
		"1 in 5":                           "cannot contain",
		"1 in 'a'":                         "needs a string on its left",
		"1 / 0":                            "division by zero",
		"1 // 0":                           "division by zero",
		"1.5 % 0":                          "division by zero",
		"0 ** -1":                          "division by zero",
		"9223372036854775807 + 1":          "64 bits",
		"-9223372036854775807 - 2":         "64 bits",
		"9223372036854775807 * -2":         "64 bits",
		"3037000500 * 3037000500":          "64 bits",
		"2 ** 63":                          "64 bits",
		"(-9223372036854775807 - 1)|abs":   "64 bits",
		"(-9223372036854775807 - 1) // -1": "64 bits",
		"10.0 ** 400":                      "too large",
		"(-1) ** 0.5":                      "no real number",
		"'a' * 'b'":                        "'*' cannot be applied",
		"+'a'":                             "'+' cannot be applied to 'str'",
		"1|nosuch":                         "no filter 'nosuch'",
		"1|first.x":                        "no filter 'first.x'",
		"1 is nosuch":                      "no test 'nosuch'",
		"[1]|map('nosuch')":                "no filter 'nosuch'",
		"[1]|select('nosuch')":             "no test 'nosuch'",
		"[1]|map":                          "needs the name",
		"'a'|replace":                      "needs the argument 'old'",
		"'a'|upper(1)":                     "at most 0 argument(s), not 1",
		"'a'|indent(wide=1)":               "does not take all of the named arguments [wide]",
		"'a'|indent(1, width=2)":           "two values for 'width'",
		"'a'.split(1)":                     "must be a string",
		"'a'.split('')":                    "separator is empty",
		"'a'.join([1])":                    "must be a string",
		"'a'.startswith(['a'])":            "must be a string",
		"'a'.index('b')":                   "does not have the part",
		"'a'.center(3, 'xy')":              "one character",
		"[1].index(2)":                     "not in the list",
		"'ab'[::0]":                        "step cannot be 0",
		"'ab'['x':]":                       "must be an integer",
		"5|length":                         "no length",
		"5|list":                           "not iterable",
		"5|items|list":                     "no items",
		"'a'|dictsort":                     "no dictionary",
		"{}|dictsort(by='x')":              "'key' or 'value'",
		"['a', 1]|sum":                     "'+' cannot be applied",
		"['b']|sum(start='a')":             "cannot be summed",
		"'a'|round":                        "cannot be rounded",
		"1|round(method='x')":              "not common, ceil or floor",
		"1e20|int":                         "no integer of 64 bits",
		"'1e20'|int":                       "no integer of 64 bits",
		"'99999999999999999999'|int":       "64 bits",
		"('inf' ~ '')|float|int":           "no integer of 64 bits",
		"[] in {}":                         "cannot be a key",
		"5[1:]":                            "cannot be sliced",
		"'%d' % x":                         "needs an integer",
		"'1'|int(base=99)":                 "between 2 and 36",
		"range()":                          "needs the argument 'start'",
		"range('a')":                       "must be an integer",
		"range(1, 2, 0)":                   "step cannot be 0",
		"x|tojson":                         "'Undefined' has no form in JSON",
		"range|tojson":                     "'function' has no form in JSON",
		"{[]: 1}":                          "cannot be a key",
		"{(1,): 1}":                        "cannot be a key",
		"[1]|tojson(separators=[1])":       "two strings",
		"namespace(1)":                     "no dictionary",
		"'%d' % 'a'":                       "needs an integer",
		"'%f' % 'a'":                       "needs a number",
		"'%s %s' % 'a'":                    "more than 1 argument",
		"'%s' % ('a', 'b')":                "does not use all",
		"'%q' % 1":                         "%q is not supported",
		"'%' % 1":                          "ends in a directive",
		"'%(a)s' % 1":                      "needs a mapping",
		"'%(a)s' % {}":                     "no argument 'a'",
		"'%99999d' % 1":                    "1000 at most",
		"'{'.format(1)":                    "single '{'",
		"'}'.format(1)":                    "single '}'",
		"'{}'.format()":                    "no argument 0",
		"'{a}'.format()":                   "no argument 'a'",
		"'{:d}'.format(1)":                 "':d' is not supported",
	} {
		_, err := render(t, "{{ "+src+" }}", Limits{})
		if !errors.Is(err, ErrRender) || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %v; want an error with %q", src, err, message)
		}
	}
}

func TestStatementErrors(t *testing.T) {
	for src, message := range map[string]string{
		"{% for x in 5 %}{% endfor %}":                          "'int' object is not iterable",
		"{% for x in none %}{% endfor %}":                       "'None' object is not iterable",
		"{% for a, b in [[1]] %}{% endfor %}":                   "expected 2 values, got 1",
		"{% set a, b = [1, 2, 3] %}":                            "expected 2 values, got 3",
		"{% set a = {} %}{% set a.b = 1 %}":                     "'a' is no namespace",
		"{% for x in [1] %}{{ loop(1) }}{% endfor %}":           "not recursive",
		"{% for x in [1] %}{{ loop|list }}{% endfor %}":         "cannot be iterated",
		"{% for x in [1] %}{{ loop.nextitem + 1 }}{% endfor %}": "no next item",
		"{% for x in [1] %}{{ loop.cycle() }}{% endfor %}":      "something to cycle",
		"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}":           "macro 'm' takes at most 1 argument",
		"{% macro m(a) %}{% endmacro %}{{ m(b=2) }}":            "named arguments [b]",
		"{% macro m(a) %}{{ a + 1 }}{% endmacro %}{{ m() }}":    "parameter 'a' was not provided",
		"{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}":  "'caller' is undefined",
		"{% filter nosuch %}{% endfilter %}":                    "no filter 'nosuch'",
	} {
		_, err := render(t, src, Limits{})
		if !errors.Is(err, ErrRender) || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %v; want an error with %q", src, err, message)
		}
	}
}

// An error names the line of the statement that failed, wherever the template
// went before.
func TestErrorLines(t *testing.T) {
	for src, line := range map[string]int{
		"\n\n{{ 1 + 'a' }}":                                       3,
		"{# a\nb #}\n{% if x.y.z %}\n{% endif %}":                 3,
		"{{ [1,\n2,\n3] }}\n{{ x.y }}":                            4,
		"a\n{%- set x = 1 -%}\n\n\n{{ x.y.z }}":                   5,
		"{% raw %}\n\n{% endraw %}{{ x.y }}":                      3,
		"{% macro m() %}\n{{ 1 }}\n{% endmacro %}\n{{ m() + 1 }}": 4,
		"{% macro m() %}\n{{ x.y }}\n{% endmacro %}\n{{ m() }}":   2,
		"{% for i in [1] %}\n\n{{ i.x.y }}{% endfor %}":           3,
		"\r\n\r{{ x.y }}":                                         3,
		"\n{{ 1 + }}":                                             2,
		"\n{% if %}":                                              2,
		"{% if 1 %}\n\n{{ 'a\nb' }}\n":                            4,
		"\n{{ 'abc":                                               2,
	} {
		_, err := render(t, src, Limits{})
		var e *Error
		if !errors.As(err, &e) || e.Line != line {
			t.Errorf("%q: %v; want an error in line %d", src, err, line)
		}
	}
}

func TestRaise(t *testing.T) {
	_, err := render(t, "a\n{{ raise_exception('no ' ~ 1) }}", Limits{})
	var e *Error
	if !errors.Is(err, ErrRaised) || !errors.As(err, &e) || e.Message != "no 1" || e.Line != 2 {
		t.Errorf("%v; want the template's message", err)
	}
	if want := "line 2: raised by the template: no 1"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	_, err = render(t, "{{ raise_exception('é' * 100000) }}", Limits{})
	if len(err.Error()) > maxMessage+100 {
		t.Errorf("a message of %d bytes", len(err.Error()))
	}
}

func TestFunc(t *testing.T) {
	broken := errors.New("broken")
	vars := map[string]any{
		"add":  Func(func(args []any) (any, error) { return args[0].(int64) + args[1].(int64), nil }),
		"fail": Func(func([]any) (any, error) { return nil, broken }),
	}
	for src, want := range map[string]string{
		"{{ add(1, 2) }}":            "3",
		"{{ add is callable }}":      "True",
		"{{ [add == add] }}":         "[False]",
		"{{ fail() }}":               "line 1: cannot be rendered: broken",
		"{{ add(1, b=2) }}":          "line 1: cannot be rendered: the function takes no named arguments",
		"{{ add + 1 }}":              "line 1: cannot be rendered: '+' cannot be applied to 'function' and 'int'",
		"{% set add = 1 %}{{ add }}": "1",
	} {
		tmpl, err := Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tmpl.Render(t.Context(), vars, Limits{})
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", src, got, want)
		}
	}
	if _, ok := vars["add"].(Func); !ok {
		t.Error("the template changed the caller's variables")
	}
}
