package jinja

import (
	"errors"
	"fmt"
	"strings"
)

// Kinds of [Error], for errors.Is.
var (
	ErrSyntax = errors.New("syntax error")           // the template cannot be parsed
	ErrRender = errors.New("cannot be rendered")     // it does what its values do not allow
	ErrRaised = errors.New("raised by the template") // it called raise_exception
	ErrLimit  = errors.New("too expensive")          // it went past a bound
)

// Error says where a template failed, and why.
type Error struct {
	Kind    error // one of the above, or the context's error
	Line    int   // in the template, from 1
	Message string
}

func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("line %d: %v", e.Line, e.Kind)
	}
	message := e.Message
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "..."
	}
	return fmt.Sprintf("line %d: %v: %s", e.Line, e.Kind, message)
}

// maxMessage is how much of a message, in bytes, is shown: it may quote the
// template.
const maxMessage = 500

func (e *Error) Unwrap() error { return e.Kind }

// catch returns a failure as an error. Inside the package failures travel as
// panics of *Error, which keeps the deep recursion of parser and evaluator
// readable; they never leave it.
func catch(err *error) {
	switch p := recover().(type) {
	case nil:
	case *Error:
		*err = p
	default:
		panic(p)
	}
}
