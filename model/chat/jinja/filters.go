package jinja

import (
	"strings"
	"unicode"
)

// filter applies a filter by its name.
func (r *renderer) filter(name string, v any, a arguments) any {
	f, ok := filters[name]
	if !ok {
		r.fail("there is no filter '%s'", name)
	}
	return r.apply("the filter '"+name+"'", f, v, a)
}

// filters are Jinja2's, less those for web pages, and transformers' tojson.
var filters map[string]builtin

// Some filters apply filters, which an initializer of the table could not say.
func init() {
	filters = map[string]builtin{
		// anything
		"default": {params: []param{opt("default_value", ""), opt("boolean", false)}, run: defaultFilter},
		"tojson":  {params: []param{opt("ensure_ascii", false), opt("indent", nil), opt("separators", nil), opt("sort_keys", false)}, run: tojson},
		"string":  {run: stringFilter},
		"safe":    {run: func(r *renderer, v any, _ []any) any { return safe(r.str(v)) }},
		"escape":  {run: func(r *renderer, v any, _ []any) any { return safe(r.escape(v)) }},
		"forceescape": {run: func(r *renderer, v any, _ []any) any {
			return safe(r.escape(r.str(v)))
		}},
		"attr":   {params: []param{need("name")}, run: func(r *renderer, v any, a []any) any { return r.attrOnly(v, r.text(a[0], "the name")) }},
		"length": {run: func(r *renderer, v any, _ []any) any { return int64(r.length(v)) }},

		// numbers
		"abs":   {run: absFilter},
		"int":   {params: []param{opt("default", int64(0)), opt("base", int64(10))}, run: intFilter},
		"float": {params: []param{opt("default", 0.0)}, run: floatFilter},
		"round": {params: []param{opt("precision", int64(0)), opt("method", "common")}, run: roundFilter},

		// texts
		"trim":       {params: []param{opt("chars", nil)}, run: trimFilter},
		"upper":      textFilter(strings.ToUpper),
		"lower":      textFilter(strings.ToLower),
		"capitalize": textFilter(capitalized),
		"title":      {run: titleFilter},
		"replace":    {params: []param{need("old"), need("new"), opt("count", nil)}, run: replaceFilter},
		"indent":     {params: []param{opt("width", int64(4)), opt("first", false), opt("blank", false)}, run: indentFilter},
		"center":     {params: []param{opt("width", int64(80))}, run: centerFilter},
		"format":     {free: formatFilter},
		"wordcount":  {run: wordcountFilter},
		"truncate":   {params: []param{opt("length", int64(255)), opt("killwords", false), opt("end", "..."), opt("leeway", int64(5))}, run: truncateFilter},

		// lists
		"list":       {run: func(r *renderer, v any, _ []any) any { return r.newList(r.elements(v)) }},
		"first":      {run: firstFilter},
		"last":       {run: lastFilter},
		"join":       {params: []param{opt("d", ""), opt("attribute", nil)}, run: joinFilter},
		"reverse":    {run: reverseFilter},
		"sort":       {params: []param{opt("reverse", false), opt("case_sensitive", false), opt("attribute", nil)}, run: sortFilter},
		"dictsort":   {params: []param{opt("case_sensitive", false), opt("by", "key"), opt("reverse", false)}, run: dictsortFilter},
		"unique":     {params: []param{opt("case_sensitive", false), opt("attribute", nil)}, run: uniqueFilter},
		"min":        extremeFilter(-1),
		"max":        extremeFilter(1),
		"sum":        {params: []param{opt("attribute", nil), opt("start", int64(0))}, run: sumFilter},
		"items":      {run: itemsFilter},
		"batch":      {params: []param{need("linecount"), opt("fill_with", nil)}, run: batchFilter},
		"slice":      {params: []param{need("slices"), opt("fill_with", nil)}, run: sliceFilter},
		"groupby":    {params: []param{need("attribute"), opt("default", nil), opt("case_sensitive", false)}, run: groupbyFilter},
		"map":        {free: mapFilter},
		"select":     selectFilter(true, false),
		"reject":     selectFilter(false, false),
		"selectattr": selectFilter(true, true),
		"rejectattr": selectFilter(false, true),
	}
	for alias, name := range map[string]string{"d": "default", "e": "escape", "count": "length"} {
		filters[alias] = filters[name]
	}
}

func defaultFilter(_ *renderer, v any, a []any) any {
	if _, missing := v.(undefined); missing || truth(a[1]) && !truth(v) {
		return a[0]
	}
	return v
}

// softText returns a text unchanged, and what prints any other value.
func (r *renderer) softText(v any) any {
	if _, ok := asText(v); ok {
		return v
	}
	return r.str(v)
}

func stringFilter(r *renderer, v any, _ []any) any { return r.softText(v) }

// attrOnly is value.name without the elements of dictionaries.
func (r *renderer) attrOnly(v any, name string) any {
	r.failUndefined(v)
	if m, ok := r.member(v, name); ok {
		return m
	}
	return noAttribute(v, name)
}

// textFilter makes a filter of a function from text to text.
func textFilter(f func(string) string) builtin {
	return builtin{run: func(r *renderer, v any, _ []any) any {
		text := r.str(v)
		r.spendText(len(text))
		return like(v, f(text))
	}}
}

func trimFilter(r *renderer, v any, a []any) any {
	return like(v, strings.TrimFunc(r.str(v), r.trimmer(a[0])))
}

// titleFilter is Jinja2's title: a capital after space, hyphens and opening
// brackets.
func titleFilter(r *renderer, v any, _ []any) any {
	s := r.str(v)
	r.spendText(len(s))
	first := true
	return strings.Map(func(c rune) rune {
		wasFirst := first
		first = isSpace(c) || strings.ContainsRune("-({[<", c)
		if wasFirst {
			return unicode.ToUpper(c)
		}
		return unicode.ToLower(c)
	}, s)
}

func replaceFilter(r *renderer, v any, a []any) any {
	count := -1
	if a[2] != nil {
		count = r.integer(a[2], "count")
	}
	return r.replaceText(r.str(v), r.str(a[0]), r.str(a[1]), count)
}

// indentFilter indents the lines of a text but, if not asked to, the first and
// blank ones.
func indentFilter(r *renderer, v any, a []any) any {
	indent, ok := asText(a[0])
	if !ok {
		indent = r.repeatText(" ", r.integer(a[0], "the width"))
	}
	s := r.text(v, "what is indented")
	lines := r.splitLines(s+"\n", false)
	for i, line := range lines {
		if i > 0 && (line != "" || truth(a[2])) || i == 0 && truth(a[1]) {
			r.spendText(len(indent) + len(line))
			lines[i] = indent + line
		}
	}
	return like(v, r.joinTexts(lines, "\n"))
}

func centerFilter(r *renderer, v any, a []any) any {
	text := r.softText(v)
	return r.apply("the filter 'center'", stringMethods["center"], text, arguments{pos: a})
}

// formatFilter is the operator % with the filter's arguments.
func formatFilter(r *renderer, v any, a arguments) any {
	if len(a.pos) > 0 && len(a.named) > 0 {
		r.fail("the filter 'format' takes arguments with names or without, not both")
	}
	text := r.softText(v)
	if len(a.named) == 0 {
		return r.percent(text, selfText(text), &List{Items: a.pos, tuple: true})
	}
	d := NewDict()
	for i, name := range a.names {
		r.setEntry(d, name, a.named[i])
	}
	return r.percent(text, selfText(text), d)
}

func wordcountFilter(r *renderer, v any, _ []any) any {
	n := int64(0)
	inWord := false
	for _, c := range r.str(v) {
		part := isNamePart(c) || unicode.IsNumber(c)
		if part && !inWord {
			n++
		}
		inWord = part
	}
	return n
}
