package quant

import (
	"fmt"
	"strings"

	"nibble/model/arch"
)

// notes is what is to be said of matrices, by reason, in the order in which the
// reasons came up: a large model would say the same hundreds of times.
type notes struct {
	reasons []string
	of      map[string][]string // matrices, by reason
}

func (n *notes) add(module, reason string) {
	if n.of == nil {
		n.of = map[string][]string{}
	}
	if n.of[reason] == nil {
		n.reasons = append(n.reasons, reason)
	}
	n.of[reason] = append(n.of[reason], module)
}

// lines is a line for each reason.
func (n *notes) lines() []string {
	out := []string{}
	for _, reason := range n.reasons {
		out = append(out, naming(n.of[reason])+": "+reason)
	}
	return out
}

// namedMost is how many matrices a note names.
const namedMost = 3

// naming names matrices, or their number and the first of them.
func naming(modules []string) string {
	if len(modules) == 1 {
		return modules[0]
	}
	first := strings.Join(modules[:min(namedMost, len(modules))], ", ")
	if more := len(modules) - namedMost; more > 0 {
		first += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%d matrices (%s)", len(modules), first)
}

// inLayer is a matrix's name within its layer, with which notes of several layers
// say the same.
func inLayer(l *arch.Linear) string { return l.Path[strings.LastIndexByte(l.Path, '.')+1:] }

// silentNote tells of inputs that a calibration knows nothing of.
func silentNote(silent, inputs int) string {
	switch silent {
	case 0:
		return ""
	case inputs:
		return "all inputs are 0 for the whole calibration: quantized as without one"
	}
	return fmt.Sprintf("%d of %d inputs are 0 for the whole calibration: what they meet is quantized as without one", silent, inputs)
}

// silentNotes tells of such inputs of all matrices that were quantized; lines are
// those of ms.
func silentNotes(ms []PlannedModule, lines []ModuleReport) []string {
	var all notes
	var some []string
	silent, inputs := 0, 0
	for i, line := range lines {
		switch cols := ms[i].Module.Cols; line.Silent {
		case 0:
		case cols:
			all.add(line.Module, silentNote(cols, cols))
		default:
			some = append(some, line.Module)
			silent, inputs = silent+line.Silent, inputs+cols
		}
	}
	out := all.lines()
	if len(some) > 0 {
		out = append(out, naming(some)+": "+silentNote(silent, inputs))
	}
	return out
}
