package jinja

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hostile templates try to take for ever, to fill memory or to overflow the
// stack, each in its own way.
var hostile = []string{
	// time
	"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
	"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
	"{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(99) }}",
	"{% for n in [1] recursive %}{{ loop([1]) }}{% endfor %}",
	"{% set l = range(9999) %}{% for i in l %}{{ -1 in l }}{% endfor %}",
	"{% set s = 'é' * 99999 %}{% for i in range(99999) %}{{ s[99998] }}{% endfor %}",
	"{% set s = 'x' * 99999 %}{% for i in range(99999) %}{{ s.count('y') }}{% endfor %}",
	"{% set s = 'x' * 99999 %}{% for i in range(99999) %}{% if s == s ~ '' %}{% endif %}{% endfor %}",
	"{% for i in range(99999) %}{{ range(99)|sort(reverse=true)|first }}{% endfor %}",
	"{% for i in range(99999) %}{{ range(99)|map('string')|list|last }}{% endfor %}",
	"{% for i in range(99999) %}{{ range(99)|select('odd')|list|length }}{% endfor %}",
	"{% set ns = namespace(a=[], b=[]) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
	"{% set ns = namespace(a=[], b=[]) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a < ns.b }}",
	// memory
	"{{ 'x' * 9999999999 }}", "{{ [1] * 9999999999 }}", "{{ 9999999999 * '' ~ [1] * 9999999999 }}",
	"{{ 'x'.center(9999999999) }}", "{{ 'x'|center(9999999999) }}", "{{ 'x'.ljust(9999999999) }}", "{{ 'x'.zfill(9999999999) }}",
	"{{ 'x'|indent(9999999999) }}", "{{ [1]|tojson(indent=9999999999) }}",
	"{{ ('x\n' * 9999)|indent(99999, true) }}", "{{ range(9999)|tojson(indent='x' * 9999) }}", "{{ range(9999)|tojson(separators=(',' * 9999, '')) }}",
	"{{ ('x' * 9999)|replace('x', 'y' * 99999) }}", "{{ ('x' * 9999).replace('', 'y' * 99999) }}",
	"{{ range(9999)|join('x' * 99999) }}", "{{ ('x' * 99999).join('x' * 9999) }}",
	"{{ ('{0}' * 9999).format('x' * 99999) }}", "{{ ('%(a)s' * 9999) % {'a': 'x' * 99999} }}",
	"{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
	"{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
	"{% set ns = namespace(x='<') %}{% for i in range(99) %}{% set ns.x = (ns.x ~ ns.x)|forceescape %}{% endfor %}",
	"{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
	"{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
	"{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}",
	"{% set ns = namespace(x={}) %}{% for i in range(99999) %}{% set ns.x = {'a': ns.x, 'b': {}} %}{% endfor %}",
	"{% set ns = namespace(x={}) %}{% for i in range(99999) %}{% set ns.x = dict(ns.x, a=1, b={}) %}{% set ns[i] = 1 %}{% endfor %}",
	"{% set s = 'a ' * 99999 %}{{ s.split() + s.split(' ') + s|list + s.splitlines() + s.rsplit(none, 99999) + s.rsplit('a', 99999) }}",
	"{% for i in range(99999) %}{% set x %}{{ 'x' * 9999 }}{% endset %}{% endfor %}",
	// the stack
	"{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
	"{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x|tojson }}",
	"{% set ns = namespace(x=[], y=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
	"{{ 1" + strings.Repeat("+1", 9999) + " }}", "{{ x" + strings.Repeat(".x", 9999) + " }}", "{{ x" + strings.Repeat("|e", 9999) + " }}",
	"{% set x|e" + strings.Repeat("|e", 9999) + " %}{% endset %}",
	"{{ " + strings.Repeat("(", 9999) + "1" + strings.Repeat(")", 9999) + " }}",
	"{{ " + strings.Repeat("-", 9999) + "1 }}", "{{ " + strings.Repeat("not ", 9999) + "1 }}",
	"{{ " + strings.Repeat("a if b else ", 9999) + "1 }}",
	strings.Repeat("{% if 1 %}", 9999) + strings.Repeat("{% endif %}", 9999),
	"{% for " + strings.Repeat("(", 9999) + "a" + strings.Repeat(")", 9999) + " in x %}{% endfor %}",
	// the parser
	strings.Repeat("{#", 1<<18), strings.Repeat(" ", 1<<18+1),
}

// Each ends at once, with one error, having made little.
func TestHostile(t *testing.T) {
	const work = 100_000
	for _, src := range hostile {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := render(t, src, Limits{Work: work, Output: 1 << 20})
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		name := src[:min(len(src), 80)]
		if !errors.Is(err, ErrLimit) && !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v; want ErrLimit", name, err)
			continue
		}
		if took > time.Second { // a millisecond or a few, but for a busy machine
			t.Errorf("%s: took %v", name, took)
		}
		if made := after.TotalAlloc - before.TotalAlloc; made > 64<<20 {
			t.Errorf("%s: %d bytes for %d steps", name, made, work)
		}
		if len(err.Error()) > 1000 {
			t.Errorf("%s: a message of %d bytes", name, len(err.Error()))
		}
	}
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		src    string
		limits Limits
		want   string // in the error; "" for none
	}{
		"work":         {"{% for i in range(100) %}{% endfor %}", Limits{Work: 100}, "more than 100 steps"},
		"enough work":  {"{% for i in range(100) %}{% endfor %}", Limits{Work: 10_000}, ""},
		"output":       {"{{ 'x' * 101 }}", Limits{Output: 100}, "more than 100 bytes"},
		"all output":   {"{{ 'x' * 100 }}", Limits{Output: 100}, ""},
		"captured":     {"{% set x %}{{ 'x' * 101 }}{% endset %}", Limits{Output: 100}, "more than 100 bytes"},
		"depth":        {"{{ [[[[[[[[[[1]]]]]]]]]] }}", Limits{Depth: 10}, "nested deeper than 10"},
		"enough depth": {"{{ [[[[1]]]] }}", Limits{Depth: 10}, ""},
		"range":        {"{{ range(11)|length }}", Limits{Range: 10}, "a range of more than 10"},
		"all range":    {"{{ range(10)|length }}", Limits{Range: 10}, ""},
		"range step":   {"{{ range(0, 20, 2)|length }}", Limits{Range: 10}, ""},
		"range down":   {"{{ range(20, 0, -2)|length }}{{ range(21, 0, -2)|length }}", Limits{Range: 10}, "a range of more than 10"},
		"huge range":   {"{{ range(-9223372036854775807, 9223372036854775807) }}", Limits{}, "a range of more than 100000"},
		"far range":    {"{{ range(9223372036854775806, 9223372036854775807) }}", Limits{}, "a range of"},
		"defaults":     {"{{ range(100000)|length }}", Limits{Work: -1, Range: -1}, ""},
	} {
		_, err := render(t, c.src, c.limits)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

func TestCancel(t *testing.T) {
	tmpl, err := Parse("{% for i in range(99999) %}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var e *Error
	if _, err := tmpl.Render(ctx, nil, Limits{}); !errors.Is(err, context.Canceled) || !errors.As(err, &e) {
		t.Errorf("%v, want context.Canceled", err)
	}
}
