package recipe

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"nibble/kernels"
	"nibble/model/source"
)

// ErrRecipe reports a recipe that cannot be read or names what does not exist.
var ErrRecipe = errors.New("recipe")

// Spec says how one matrix is stored.
type Spec struct {
	Bits   int    `json:"bits"`             // 4 or 8; 16 keeps the matrix as the checkpoint stores it
	Group  int    `json:"group"`            // 32, 64 or 128 columns share a scale; 0 is the whole row
	Sym    bool   `json:"symmetric"`        // zero point in the middle
	Method string `json:"method,omitempty"` // one of Methods

	// Table names what codes stand for: "nl4", uneven steps that are finer near zero, or
	// "", even steps.
	Table string `json:"table,omitempty"`

	// Top is how many per cent of the rows have 8 bits where the others have 4: those
	// of the tokens that the calibration has most. For the embedding and the output
	// head, whose rows are tokens.
	Top int `json:"top,omitempty"`
}

// tables are the code tables of specs, by their names.
var tables = map[string]kernels.CodeTable{"": kernels.Even, "nl4": kernels.NL4}

// Keep leaves a matrix as it is stored.
var Keep = Spec{Bits: 16}

// Kept reports whether the spec leaves the matrix alone.
func (s Spec) Kept() bool { return s.Bits == 16 }

// Scheme returns the storage scheme; it is meaningless for a kept matrix.
func (s Spec) Scheme() kernels.Scheme {
	return kernels.Scheme{Bits: s.Bits, Group: s.Group, Sym: s.Sym, Top: s.Top, Table: tables[s.Table]}
}

// Validate checks the spec against what nibble has.
func (s Spec) Validate() error {
	if s.Kept() {
		return nil
	}
	if s.Top < 0 || s.Top > 99 || s.Top > 0 && (s.Bits != 4 || !s.Sym) {
		return fmt.Errorf("%w: top%d%%: it is 1 to 99 per cent of the rows of a w4 sym matrix", ErrRecipe, s.Top)
	}
	switch {
	case s.Bits != 4 && s.Bits != 8:
		return fmt.Errorf("%w: %d bits (there are: 4, 8, and 16 or \"keep\" for as stored)", ErrRecipe, s.Bits)
	case !slices.Contains([]int{0, 32, 64, 128}, s.Group):
		return fmt.Errorf("%w: group size %d (there are: 32, 64, 128, and 0 or \"channel\" for whole rows)", ErrRecipe, s.Group)
	}
	if table, ok := tables[s.Table]; !ok {
		return fmt.Errorf("%w: code table %s (there is: nl4)", ErrRecipe, source.Quote(s.Table))
	} else if table != kernels.Even {
		if err := s.Scheme().Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrRecipe, err)
		}
	}
	if !slices.Contains(Methods(), s.Method) {
		return fmt.Errorf("%w: method %q (there are: %s)", ErrRecipe, s.Method, strings.Join(Methods(), ", "))
	}
	return nil
}

// String returns the short form, "w4 g128 sym mse" or "keep".
func (s Spec) String() string {
	if s.Kept() {
		return "keep"
	}
	return s.Scheme().String() + " " + s.Method
}
