package method

import (
	"nibble/quant/pass"
	"nibble/quant/recipe"
)

var registered = map[string]*pass.Method{}

// register adds a method, which recipes may name from then on.
func register(m *pass.Method) {
	if registered[m.Name] != nil {
		panic("two methods are named " + m.Name)
	}
	registered[m.Name] = m
	recipe.RegisterMethod(m.Name, m.Strength, m.Recipe)
}

// Named returns the method of a name; nil if there is none.
func Named(name string) *pass.Method { return registered[name] }

// All returns the methods, the weakest first.
func All() []*pass.Method {
	var out []*pass.Method
	for _, name := range recipe.Methods() {
		out = append(out, registered[name])
	}
	return out
}
