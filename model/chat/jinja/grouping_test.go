package jinja

import (
	"errors"
	"testing"
)

// Filters that make groups and cut texts, by Jinja2 as in TestExpressions.
func TestGrouping(t *testing.T) {
	for _, c := range groupings {
		check(t, c[0], c[1])
	}
	for _, src := range []string{"{{ [1]|batch(0) }}", "{{ [1]|slice(0) }}", "{{ [1]|slice(999999999) }}", "{{ [1]|batch(999999999, 0) }}", "{{ 'a b'|truncate(2) }}", "{{ 'a'|truncate(9, leeway=-1) }}"} {
		tmpl, err := Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tmpl.Render(t.Context(), nil, Limits{}); !errors.Is(err, ErrRender) && !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", src, err)
		}
	}
}

var groupings = [][2]string{
	{"{{ [1, 2, 3, 4, 5]|batch(2)|list }}", "[[1, 2], [3, 4], [5]]"},
	{"{{ [1, 2, 3]|batch(2, 0)|list }}", "[[1, 2], [3, 0]]"},
	{"{{ []|batch(2)|list }}", "[]"},
	{"{{ [1, 2, 3, 4, 5]|slice(2)|list }}", "[[1, 2, 3], [4, 5]]"},
	{"{{ [1, 2, 3, 4]|slice(3, 0)|list }}", "[[1, 2], [3, 0], [4, 0]]"},
	{"{{ [1]|slice(3)|list }}", "[[1], [], []]"},
	{"{{ [{'r': 'b', 'n': 1}, {'r': 'a', 'n': 2}, {'r': 'B', 'n': 3}]|groupby('r')|list }}", "[('a', [{'r': 'a', 'n': 2}]), ('b', [{'r': 'b', 'n': 1}, {'r': 'B', 'n': 3}])]"},
	{"{{ [{'r': 1}, {'s': 2}]|groupby('r', default=0)|list }}", "[(0, [{'s': 2}]), (1, [{'r': 1}])]"},
	{"{{ [{'r': 'b'}, {'r': 'B'}]|groupby('r', case_sensitive=true)|map('first')|list }}", "['B', 'b']"},
	{"{{ []|groupby('x')|list }}", "[]"},
	{"{{ 'a long text that is cut'|truncate(10) }}", "a long..."},
	{"{{ 'a long text that is cut'|truncate(10, true) }}", "a long ..."},
	{"{{ 'a text'|truncate(4) }}", "a text"},
	{"{{ '\u00e9\u00e8\u00e0 \u00e9\u00e8\u00e0 \u00e9\u00e8\u00e0'|truncate(6, end='\u2026', leeway=0) }}", "éèà…"},
	{"{{ 'abcdefghijkl'|truncate(5) }}", "ab..."},
}
