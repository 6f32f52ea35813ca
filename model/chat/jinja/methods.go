package jinja

import (
	"slices"
	"strings"
	"unicode"
)

// stringMethods are the methods of texts. Those of safe text return safe text.
var stringMethods = map[string]builtin{
	"strip":        stripMethod(true, true),
	"lstrip":       stripMethod(true, false),
	"rstrip":       stripMethod(false, true),
	"split":        splitMethod((*renderer).split),
	"rsplit":       splitMethod((*renderer).splitRight),
	"splitlines":   {params: []param{opt("keepends", false)}, run: linesMethod},
	"partition":    partitionMethod(false),
	"rpartition":   partitionMethod(true),
	"join":         {params: []param{need("iterable")}, run: joinMethod},
	"replace":      {params: []param{need("old"), need("new"), opt("count", int64(-1))}, run: replaceMethod},
	"removeprefix": affixMethod(strings.TrimPrefix),
	"removesuffix": affixMethod(strings.TrimSuffix),
	"startswith":   hasMethod(strings.HasPrefix),
	"endswith":     hasMethod(strings.HasSuffix),
	"find":         findMethod(strings.Index, false),
	"rfind":        findMethod(strings.LastIndex, false),
	"index":        findMethod(strings.Index, true),
	"rindex":       findMethod(strings.LastIndex, true),
	"count":        {params: []param{need("part")}, run: countMethod},
	"upper":        mapMethod(strings.ToUpper),
	"lower":        mapMethod(strings.ToLower),
	"casefold":     mapMethod(strings.ToLower),
	"title":        mapMethod(titled),
	"capitalize":   mapMethod(capitalized),
	"ljust":        padMethod(func(space, width int) int { return 0 }),
	"rjust":        padMethod(func(space, width int) int { return space }),
	"center":       padMethod(func(space, width int) int { return space/2 + space&width&1 }),
	"zfill":        {params: []param{need("width")}, run: zfillMethod},
	"format":       {free: formatMethod},
	"isdigit":      isMethod(func(s string) bool { return isAll(s, unicode.IsDigit) }),
	"isdecimal":    isMethod(func(s string) bool { return isAll(s, unicode.IsDigit) }),
	"isnumeric":    isMethod(func(s string) bool { return isAll(s, unicode.IsNumber) }),
	"isalpha":      isMethod(func(s string) bool { return isAll(s, unicode.IsLetter) }),
	"isalnum":      isMethod(func(s string) bool { return isAll(s, isAlnum) }),
	"isspace":      isMethod(func(s string) bool { return isAll(s, isSpace) }),
	"islower":      isMethod(isLowerText),
	"isupper":      isMethod(isUpperText),
}

func isAlnum(c rune) bool       { return unicode.IsLetter(c) || unicode.IsNumber(c) }
func isLowerText(s string) bool { return isCase(s, unicode.IsLower, unicode.IsUpper) }
func isUpperText(s string) bool { return isCase(s, unicode.IsUpper, unicode.IsLower) }

// dictMethods are the methods of dictionaries; those without a function would
// change the dictionary.
var dictMethods = map[string]builtin{
	"get": {params: []param{need("key"), opt("default", nil)}, run: func(_ *renderer, self any, a []any) any {
		if v, ok := self.(*Dict).Get(a[0]); ok {
			return v
		}
		return a[1]
	}},
	"items":  {run: func(r *renderer, self any, _ []any) any { return r.pairs(self.(*Dict)) }},
	"keys":   {run: func(r *renderer, self any, _ []any) any { return r.newList(self.(*Dict).keys) }},
	"values": {run: valuesMethod},
	"copy":   {run: func(_ *renderer, self any, _ []any) any { return self }}, // it never changes
	"clear":  {}, "pop": {}, "popitem": {}, "setdefault": {}, "update": {},
}

// listMethods are the methods of lists; those without a function would change
// the list.
var listMethods = map[string]builtin{
	"index": {params: []param{need("value")}, run: func(r *renderer, self any, a []any) any {
		i := slices.IndexFunc(self.(*List).Items, func(item any) bool { return r.equal(item, a[0]) })
		if i < 0 {
			r.fail("the value is not in the list")
		}
		return int64(i)
	}},
	"count": {params: []param{need("value")}, run: func(r *renderer, self any, a []any) any {
		n := int64(0)
		for _, item := range self.(*List).Items {
			if r.equal(item, a[0]) {
				n++
			}
		}
		return n
	}},
	"copy":   {run: func(_ *renderer, self any, _ []any) any { return self }},
	"append": {}, "clear": {}, "extend": {}, "insert": {}, "pop": {}, "remove": {}, "reverse": {}, "sort": {},
}

// pairs returns a dictionary's entries as a list of tuples.
func (r *renderer) pairs(d *Dict) *List {
	r.spend(2 * d.Len())
	items := make([]any, 0, d.Len())
	for key, value := range d.All() {
		items = append(items, &List{Items: []any{key, value}, tuple: true})
	}
	return r.newList(items)
}

func valuesMethod(r *renderer, self any, _ []any) any {
	d := self.(*Dict)
	items := make([]any, 0, d.Len())
	for _, value := range d.All() {
		items = append(items, value)
	}
	return r.newList(items)
}

// selfText returns the text a method is called on.
func selfText(self any) string {
	s, _ := asText(self)
	return s
}

// mapMethod makes a method of a function from text to text.
func mapMethod(f func(string) string) builtin {
	return builtin{run: func(r *renderer, self any, _ []any) any { return like(self, f(selfText(self))) }}
}

// isMethod makes a method of a function that judges a text.
func isMethod(f func(string) bool) builtin {
	return builtin{run: func(r *renderer, self any, _ []any) any { return f(selfText(self)) }}
}

func stripMethod(left, right bool) builtin {
	return builtin{params: []param{opt("chars", nil)}, run: func(r *renderer, self any, a []any) any {
		s, trim := selfText(self), r.trimmer(a[0])
		if left {
			s = strings.TrimLeftFunc(s, trim)
		}
		if right {
			s = strings.TrimRightFunc(s, trim)
		}
		return like(self, s)
	}}
}

func splitMethod(split func(*renderer, any, any, int) *List) builtin {
	return builtin{params: []param{opt("sep", nil), opt("maxsplit", int64(-1))}, run: func(r *renderer, self any, a []any) any {
		return split(r, self, a[0], r.integer(a[1], "maxsplit"))
	}}
}

func partitionMethod(last bool) builtin {
	return builtin{params: []param{need("sep")}, run: func(r *renderer, self any, a []any) any { return r.partition(self, a[0], last) }}
}

func linesMethod(r *renderer, self any, a []any) any {
	return r.texts(self, r.splitLines(selfText(self), truth(a[0])))
}

func joinMethod(r *renderer, self any, a []any) any {
	items := r.elements(a[0])
	r.spend(len(items))
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = r.text(item, "what is joined")
		if isSafe(self) {
			parts[i] = r.escape(item)
		}
	}
	return like(self, r.joinTexts(parts, selfText(self)))
}

func replaceMethod(r *renderer, self any, a []any) any {
	with := r.text(a[1], "the replacement")
	if isSafe(self) {
		with = r.escape(a[1])
	}
	return like(self, r.replaceText(selfText(self), r.text(a[0], "what is replaced"), with, r.integer(a[2], "count")))
}

func affixMethod(trim func(s, affix string) string) builtin {
	return builtin{params: []param{need("affix")}, run: func(r *renderer, self any, a []any) any {
		return like(self, trim(selfText(self), r.text(a[0], "what is removed")))
	}}
}

// hasMethod makes startswith and endswith, which take one text or a tuple.
func hasMethod(has func(s, affix string) bool) builtin {
	return builtin{params: []param{need("affix")}, run: func(r *renderer, self any, a []any) any {
		affixes := []any{a[0]}
		if l, ok := a[0].(*List); ok && l.tuple {
			affixes = l.Items
		}
		for _, affix := range affixes {
			if has(selfText(self), r.text(affix, "what a text may begin or end with")) {
				return true
			}
		}
		return false
	}}
}

// findMethod makes find and index, which counts characters and fails where
// nothing is found.
func findMethod(find func(s, part string) int, must bool) builtin {
	return builtin{params: []param{need("part")}, run: func(r *renderer, self any, a []any) any {
		s := selfText(self)
		i := find(s, r.text(a[0], "what is looked for"))
		if i < 0 {
			if must {
				r.fail("the text does not have the part that is looked for")
			}
			return int64(-1)
		}
		return int64(r.runeCount(s[:i]))
	}}
}

func countMethod(r *renderer, self any, a []any) any {
	return int64(strings.Count(selfText(self), r.text(a[0], "what is counted")))
}

// padMethod makes a method that fills a text up to a width, some of the space
// on its left.
func padMethod(left func(space, width int) int) builtin {
	return builtin{params: []param{need("width"), opt("fill", " ")}, run: func(r *renderer, self any, a []any) any {
		s, fill := selfText(self), r.text(a[1], "the fill character")
		if r.runeCount(fill) != 1 {
			r.fail("the fill character must be one character")
		}
		width := r.integer(a[0], "the width")
		space := max(width-r.runeCount(s), 0)
		before := left(space, width)
		return like(self, r.joinTexts([]string{r.repeatText(fill, before), s, r.repeatText(fill, space-before)}, ""))
	}}
}

func zfillMethod(r *renderer, self any, a []any) any {
	s := selfText(self)
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	zeros := r.repeatText("0", r.integer(a[0], "the width")-len(sign)-r.runeCount(s))
	return like(self, r.joinTexts([]string{sign, zeros, s}, ""))
}
