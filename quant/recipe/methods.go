package recipe

import (
	"slices"
)

// methods are the words that name methods, with the recipes that are named for
// them; package method has what they mean.
var methods []namedMethod

type namedMethod struct {
	name     string
	strength int
	recipe   string
}

// RegisterMethod adds a method, and the recipe named for it: that with 4 bits,
// symmetric, in groups of 32. strength puts methods in order.
func RegisterMethod(name string, strength int, recipe string) {
	methods = append(methods, namedMethod{name, strength, recipe})
	slices.SortFunc(methods, func(a, b namedMethod) int { return a.strength - b.strength })
}

// Methods lists the methods by name, the weakest first.
func Methods() []string {
	var out []string
	for _, m := range methods {
		out = append(out, m.name)
	}
	return out
}
