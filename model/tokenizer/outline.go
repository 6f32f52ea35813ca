package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Describe says what Load would make of the same files, in a small part of the time:
// its Kind and VocabSize, and why it would be refused, but for what is wrong with
// pieces and merges.
func Describe(tokenizerJSON, tokenizerConfigJSON []byte) (kind string, size int, err error) {
	o := newOutline(tokenizerJSON)
	if err := o.file(); err != nil {
		return "", 0, err
	}
	t, err := load(o.out, tokenizerConfigJSON, o.had)
	if err != nil {
		return "", 0, err
	}
	return t.Kind(), t.VocabSize(), nil
}

// outline copies a tokenizer.json without its merges and most of its pieces. It finds
// where values end and does not look into them: who reads the copy does.
type outline struct {
	in    []byte
	at    int
	out   []byte
	had   int             // pieces
	asked map[string]bool // pieces that are named elsewhere, as they are spelled
	known int             // of the two places that name pieces, how many were read
}

func newOutline(data []byte) *outline { return &outline{in: data, asked: map[string]bool{}} }

var errOutline = fmt.Errorf("%w: it is no JSON object, or ends early", ErrCorrupt)

// file copies all.
func (o *outline) file() error {
	return o.object(func(name string) error {
		switch {
		case name == `"model"` && o.peek() == '{':
			return o.object(o.modelField)
		case name == `"added_tokens"`:
			return o.naming(func(v []byte) {
				var list []struct{ Content json.RawMessage }
				_ = json.Unmarshal(v, &list) // of what is no list, there are none
				for _, t := range list {
					o.asked[string(t.Content)] = true
				}
			})
		}
		return o.copy()
	})
}

func (o *outline) modelField(name string) error {
	switch kind := o.peek(); {
	case name == `"merges"` && kind == '[':
		o.out = append(o.out, "[]"...)
		_, err := o.value()
		return err
	case name == `"vocab"` && kind == '{' && o.known == 2:
		return o.pieces()
	case name == `"unk_token"`:
		return o.naming(func(v []byte) { o.asked[string(v)] = true })
	}
	return o.copy()
}

// naming copies a value, of which a function notes the pieces that it names.
func (o *outline) naming(note func(v []byte)) error {
	v, err := o.value()
	o.out = append(o.out, v...)
	o.known++
	note(v)
	return err
}

// copy copies a value.
func (o *outline) copy() error {
	v, err := o.value()
	o.out = append(o.out, v...)
	return err
}

// object copies an object, whose values are up to a function. Names are as they are
// spelled.
func (o *outline) object(value func(name string) error) error {
	return o.members(func(name []byte) error {
		if o.out[len(o.out)-1] != '{' {
			o.out = append(o.out, ',')
		}
		o.out = append(append(o.out, name...), ':')
		return value(string(name))
	})
}

// pieces copies what Load asks for of a vocabulary: short pieces, which may stand for
// bytes, those that look special, and the one with the largest id.
func (o *outline) pieces() error {
	most, last := int64(-1), []byte(nil)
	keep := func(name, id []byte) {
		if o.out[len(o.out)-1] != '{' {
			o.out = append(o.out, ',')
		}
		o.out = append(append(append(o.out, name...), ':'), id...)
	}
	err := o.members(func(name []byte) error {
		id, err := o.value()
		if err != nil {
			return err
		}
		o.had++
		n, bad := strconv.ParseInt(string(id), 10, 64)
		if bad != nil || n < 0 || n >= maxID || needed(name) || o.asked[string(name)] {
			keep(name, id) // Load says what is wrong with it
		} else if n > most {
			most, last = n, name
		}
		return nil
	})
	if most >= 0 {
		o.out = o.out[:len(o.out)-1] // the brace
		keep(last, strconv.AppendInt(nil, most, 10))
		o.out = append(o.out, '}')
	}
	return err
}

// needed reports whether a spelled piece may be asked for by itself.
func needed(name []byte) bool {
	return len(name) <= len(`"é"`) || name[1] == '\\' && len(name) <= len(`"\u00e9"`) || name[1] == '<' || name[1] == '['
}

// members copies the braces of an object and calls a function with the name of each
// member, whose value it must read.
func (o *outline) members(member func(name []byte) error) error {
	if o.peek() != '{' {
		return errOutline
	}
	o.at++
	o.out = append(o.out, '{')
	for first := true; o.peek() != '}'; first = false {
		if !first {
			if o.peek() != ',' {
				return errOutline
			}
			o.at++
		}
		if o.peek() != '"' {
			return errOutline
		}
		name, err := o.value()
		if err == nil && o.peek() != ':' {
			err = errOutline
		}
		if err != nil {
			return err
		}
		o.at++
		if err := member(name); err != nil {
			return err
		}
	}
	o.at++
	o.out = append(o.out, '}')
	return nil
}

// peek is the byte that comes after white space, 0 at the end.
func (o *outline) peek() byte {
	for ; o.at < len(o.in); o.at++ {
		switch c := o.in[o.at]; c {
		case ' ', '\n', '\r', '\t':
		default:
			return c
		}
	}
	return 0
}

// value steps over a value and returns it.
func (o *outline) value() ([]byte, error) {
	o.peek()
	begin := o.at
	for depth := 0; o.at < len(o.in); {
		switch o.in[o.at] {
		case '"':
			if !o.text() {
				return nil, errOutline
			}
			if depth == 0 {
				return o.in[begin:o.at], nil
			}
			continue
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth < 0 { // of what it is in
				return o.in[begin:o.at], nil
			}
			if depth == 0 {
				o.at++
				return o.in[begin:o.at], nil
			}
		case ',', ' ', '\n', '\r', '\t':
			if depth == 0 { // the end of a number or a word
				return o.in[begin:o.at], nil
			}
		}
		o.at++
	}
	return nil, errOutline
}

// text steps over a string.
func (o *outline) text() bool {
	for at := o.at + 1; ; {
		n := bytes.IndexByte(o.in[at:], '"')
		if n < 0 {
			return false
		}
		at += n + 1
		escapes := 0
		for o.in[at-2-escapes] == '\\' { // which ends at the opening quote at the latest
			escapes++
		}
		if escapes%2 == 0 {
			o.at = at
			return true
		}
	}
}
