package recipe

import (
	"fmt"
	"strconv"
	"strings"

	"nibble/model"
)

// Compact writes the specs of a model's matrices as a short recipe: what most of
// the layers' have is the default, what most of a kind have a rule for the kind,
// and layers in which a kind has the same spec share a rule.
func Compact(c model.Config, specs map[string]Spec) Recipe {
	kinds := map[string][]model.Module{}
	var all []Spec
	var order []string
	for _, m := range c.Modules() {
		if m.Layer < 0 {
			continue
		}
		if _, ok := kinds[m.Kind]; !ok {
			order = append(order, m.Kind)
		}
		kinds[m.Kind] = append(kinds[m.Kind], m)
		all = append(all, specs[m.Name])
	}
	r := Recipe{Default: most(all)}
	for _, kind := range order {
		var of []Spec
		for _, m := range kinds[kind] {
			of = append(of, specs[m.Name])
		}
		if s := most(of); s != r.Default {
			r.Rules = append(r.Rules, Rule{Match: lastPart(kinds[kind][0].Name), Spec: s})
		}
	}
	for _, kind := range order {
		r.Rules = append(r.Rules, exceptions(r, kinds[kind], specs)...)
	}
	for _, m := range c.Modules() {
		if r.For(m) != specs[m.Name] {
			r.Rules = append(r.Rules, Rule{Match: m.Name, Spec: specs[m.Name]})
		}
	}
	return r
}

// exceptions are rules for the matrices of a kind that a recipe has wrong, those of
// several layers together.
func exceptions(r Recipe, ms []model.Module, specs map[string]Spec) []Rule {
	layers := map[Spec][]int{}
	var order []Spec
	for _, m := range ms {
		s := specs[m.Name]
		if r.For(m) == s {
			continue
		}
		if layers[s] == nil {
			order = append(order, s)
		}
		layers[s] = append(layers[s], m.Layer)
	}
	var rules []Rule
	for _, s := range order {
		for _, p := range layerPatterns(layers[s]) {
			rules = append(rules, Rule{Match: fmt.Sprintf("*.%s.*.%s", p, lastPart(ms[0].Name)), Spec: s})
		}
	}
	return rules
}

func lastPart(name string) string { return name[strings.LastIndex(name, ".")+1:] }

// layerPatterns writes layers, in order, as patterns: one for those that differ in
// the last digit alone.
func layerPatterns(layers []int) []string {
	var out []string
	for len(layers) > 0 {
		ten := layers[0] / 10
		n := 0
		var digits []byte
		for n < len(layers) && layers[n]/10 == ten {
			digits = append(digits, byte('0'+layers[n]%10))
			n++
		}
		prefix := ""
		if ten > 0 {
			prefix = strconv.Itoa(ten)
		}
		out = append(out, prefix+digitClass(digits))
		layers = layers[n:]
	}
	return out
}

// digitClass matches any of some digits, in order: "3", "[037]", "[0-4]".
func digitClass(digits []byte) string {
	first, last := digits[0], digits[len(digits)-1]
	switch {
	case len(digits) == 1:
		return string(digits)
	case len(digits) > 2 && int(last-first) == len(digits)-1:
		return fmt.Sprintf("[%c-%c]", first, last)
	}
	return "[" + string(digits) + "]"
}

// most returns the spec that occurs most often, the first of several.
func most(specs []Spec) Spec {
	count := map[Spec]int{}
	best := Keep
	for _, s := range specs {
		if count[s]++; count[s] > count[best] {
			best = s
		}
	}
	return best
}
