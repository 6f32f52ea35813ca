package pass

import (
	"fmt"
	"strings"

	"nibble/model/arch"
)

// Notes is what is to be said of matrices, by reason, in the order in which the
// reasons came up: a large model would say the same hundreds of times.
type Notes struct {
	reasons []string
	of      map[string][]string // matrices, by reason
}

// Add notes a reason for a matrix.
func (n *Notes) Add(module, reason string) {
	if n.of == nil {
		n.of = map[string][]string{}
	}
	if n.of[reason] == nil {
		n.reasons = append(n.reasons, reason)
	}
	n.of[reason] = append(n.of[reason], module)
}

// Lines is a line for each reason.
func (n *Notes) Lines() []string {
	out := []string{}
	for _, reason := range n.reasons {
		out = append(out, Naming(n.of[reason])+": "+reason)
	}
	return out
}

// namedMost is how many matrices a note names.
const namedMost = 3

// Naming names matrices, or their number and the first of them.
func Naming(modules []string) string {
	if len(modules) == 1 {
		return modules[0]
	}
	first := strings.Join(modules[:min(namedMost, len(modules))], ", ")
	if more := len(modules) - namedMost; more > 0 {
		first += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%d matrices (%s)", len(modules), first)
}

// InLayer is a matrix's name within its layer, with which notes of several layers
// say the same.
func InLayer(l *arch.Linear) string { return l.Path[strings.LastIndexByte(l.Path, '.')+1:] }

// SilentNote tells of inputs that a calibration knows nothing of.
func SilentNote(silent, inputs int) string {
	switch silent {
	case 0:
		return ""
	case inputs:
		return "all inputs are 0 for the whole calibration: quantized as without one"
	}
	return fmt.Sprintf("%d of %d inputs are 0 for the whole calibration: what they meet is quantized as without one", silent, inputs)
}
