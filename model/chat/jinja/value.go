package jinja

import (
	"iter"
	"math"
)

// List is a list or, made by a template, a tuple.
type List struct {
	Items []any
	tuple bool
}

// Dict is a dictionary, which keeps the order of its keys.
type Dict struct {
	keys   []any
	values map[any]any // by dictKey
}

// NewDict returns an empty dictionary.
func NewDict() *Dict { return &Dict{values: make(map[any]any)} }

// Set adds an entry or replaces its value. Keys that are no strings, numbers,
// booleans or nil are ignored.
func (d *Dict) Set(key, value any) {
	k, ok := dictKey(key)
	if !ok {
		return
	}
	if _, has := d.values[k]; !has {
		d.keys = append(d.keys, key)
	}
	d.values[k] = value
}

// Get returns the value of a key.
func (d *Dict) Get(key any) (value any, ok bool) {
	k, ok := dictKey(key)
	if !ok {
		return nil, false
	}
	value, ok = d.values[k]
	return value, ok
}

// Len returns the number of entries.
func (d *Dict) Len() int { return len(d.keys) }

// All iterates over the entries in order.
func (d *Dict) All() iter.Seq2[any, any] {
	return func(yield func(any, any) bool) {
		for _, key := range d.keys {
			if v, _ := d.Get(key); !yield(key, v) {
				return
			}
		}
	}
}

// dictKey returns the form in which a key is looked up: keys that are equal in
// Python, such as 1, 1.0 and true, have one form.
func dictKey(key any) (any, bool) {
	switch k := key.(type) {
	case nil, string, int64, undefined:
		return k, true
	case safe:
		return string(k), true
	case bool:
		return asNumber(k), true
	case float64:
		if i := int64(k); float64(i) == k && math.Abs(k) < 1<<63 {
			return i, true
		}
		return k, true
	}
	return nil, false
}

// Func is a function of the program that a template may call, by position. Its
// error ends the rendering.
type Func func(args []any) (any, error)

// safe is text that the filters safe and escape mark: what is joined to it by +
// is escaped. The text itself is never escaped again.
type safe string

// undefined is the value of what does not exist. It may be printed, tested and
// iterated over, as nothing; any other use fails with its message.
type undefined struct{ message string }

// namespace is what namespace() makes: attributes that set can change.
type namespace struct{ attrs map[string]any }

// asText returns the characters of a text.
func asText(v any) (string, bool) {
	switch s := v.(type) {
	case string:
		return s, true
	case safe:
		return string(s), true
	}
	return "", false
}

// like marks a text as safe if another one is.
func like(model any, text string) any {
	if _, ok := model.(safe); ok {
		return safe(text)
	}
	return text
}

// asNumber turns booleans into integers and returns other values unchanged.
func asNumber(v any) any {
	if b, ok := v.(bool); ok {
		if b {
			return int64(1)
		}
		return int64(0)
	}
	return v
}

// asFloat returns a number as a float.
func asFloat(v any) (float64, bool) {
	switch n := asNumber(v).(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// truth is Python's: nothing, zero and what is empty are false.
func truth(v any) bool {
	switch x := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return x
	case int64:
		return x != 0
	case float64:
		return x != 0
	case string:
		return x != ""
	case safe:
		return x != ""
	case *List:
		return len(x.Items) > 0
	case *Dict:
		return x.Len() > 0
	}
	return true
}

// typeName is the name that Python's messages have for a type.
func typeName(v any) string {
	switch x := v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case safe:
		return "Markup"
	case *List:
		if x.tuple {
			return "tuple"
		}
		return "list"
	case *Dict:
		return "dict"
	case undefined:
		return "Undefined"
	case *namespace:
		return "Namespace"
	case *loop:
		return "LoopContext"
	case *macro:
		return "Macro"
	}
	return "function"
}

// length returns the number of elements of a container or characters of a text.
func (r *renderer) length(v any) int {
	switch x := v.(type) {
	case undefined:
		return 0
	case *List:
		return len(x.Items)
	case *Dict:
		return x.Len()
	}
	if s, ok := asText(v); ok {
		return r.runeCount(s)
	}
	r.fail("object of type '%s' has no length", typeName(v))
	return 0
}

// elements returns what iterating over a value gives; the caller must not
// change it.
func (r *renderer) elements(v any) []any {
	switch x := v.(type) {
	case undefined:
		return nil
	case *List:
		return x.Items
	case *Dict:
		return x.keys
	case *loop:
		r.fail("the loop object cannot be iterated over")
	}
	s, ok := asText(v)
	if !ok {
		r.fail("'%s' object is not iterable", typeName(v))
	}
	n := r.runeCount(s)
	r.spend(n)
	items := make([]any, 0, n)
	for _, c := range s {
		items = append(items, string(c))
	}
	return items
}

// newList pays for a list of elements that exist already.
func (r *renderer) newList(items []any) *List {
	r.spend(1 + len(items))
	return &List{Items: items}
}

// setEntry adds to a dictionary that is being made.
func (r *renderer) setEntry(d *Dict, key, value any) {
	if _, ok := dictKey(key); !ok {
		r.fail("'%s' cannot be a key here", typeName(key))
	}
	r.spend(dictEntry)
	d.Set(key, value)
}

// item returns a dictionary's value, or an undefined one.
func (d *Dict) item(key any) any {
	if v, ok := d.Get(key); ok {
		return v
	}
	if s, ok := asText(key); ok {
		return undefined{"'dict object' has no attribute '" + s + "'"}
	}
	return undefined{"'dict object' has no such element"}
}
