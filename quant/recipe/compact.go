package recipe

import (
	"fmt"
	"strconv"
	"strings"

	"nibble/model"
)

// peers is matrices that play the same role: those that every token meets, or experts.
type peers struct {
	modules []model.Module
	layers  string // pattern of those of one layer or several, which %s stands for
	match   string // pattern of all
}

// peersOf lists the roles in a model's layers, experts last: their names also match the
// patterns of matrices of their role that every token meets.
func peersOf(c model.Config) []*peers {
	var roles []*peers
	at := map[string]*peers{}
	for _, experts := range []bool{false, true} {
		for _, m := range c.Modules() {
			expert := m.Linear.Expert >= 0
			if m.Layer < 0 || expert != experts {
				continue
			}
			last := lastPart(m.Name)
			key := fmt.Sprint(m.Kind, expert)
			if at[key] == nil {
				p := &peers{match: last, layers: layersOf(m)}
				if among := expertsOf(m); expert && among != "" {
					p.match, p.layers = "*."+among+".*."+last, "*.%s.*"+among+".*."+last
				}
				at[key] = p
				roles = append(roles, p)
			}
			at[key].modules = append(at[key].modules, m)
		}
	}
	return roles
}

// layersOf is the pattern of the matrices that are called as one is, in the layers that
// %s stands for.
func layersOf(m model.Module) string {
	last := lastPart(m.Name)
	if strings.HasSuffix(m.Name, fmt.Sprintf(".%d.%s", m.Layer, last)) {
		return "*.%s." + last
	}
	return "*.%s.*." + last
}

// expertsOf is what comes before the number of an expert in its name.
func expertsOf(m model.Module) string {
	words := strings.Split(m.Name, ".")
	for i := len(words) - 1; i > 0; i-- {
		if words[i] == strconv.Itoa(m.Linear.Expert) {
			return words[i-1]
		}
	}
	return ""
}

// Compact writes the specs of a model's matrices as a short recipe: what most of
// the layers' have is the default, what most of one role have a rule for the role,
// and layers in which a role has the same spec share a rule.
func Compact(c model.Config, specs map[string]Spec) Recipe {
	var all []Spec
	for _, m := range c.Modules() {
		if m.Layer >= 0 {
			all = append(all, specs[m.Name])
		}
	}
	r := Recipe{Default: most(all)}
	roles := peersOf(c)
	for _, p := range roles {
		var of []Spec
		for _, m := range p.modules {
			of = append(of, specs[m.Name])
		}
		if s := most(of); s != r.For(p.modules[0]) {
			r.Rules = append(r.Rules, Rule{Match: p.match, Spec: s})
		}
	}
	for _, p := range roles {
		r.Rules = append(r.Rules, p.exceptions(r, specs)...)
	}
	for _, m := range c.Modules() {
		if r.For(m) != specs[m.Name] {
			r.Rules = append(r.Rules, Rule{Match: m.Name, Spec: specs[m.Name]})
		}
	}
	return r
}

// exceptions are rules for the matrices of a role that a recipe has wrong, those of
// several layers together.
func (p *peers) exceptions(r Recipe, specs map[string]Spec) []Rule {
	layers := map[Spec][]int{}
	var order []Spec
	for _, m := range p.modules {
		s := specs[m.Name]
		if r.For(m) == s {
			continue
		}
		of := layers[s]
		if of == nil {
			order = append(order, s)
		}
		if len(of) == 0 || of[len(of)-1] != m.Layer {
			layers[s] = append(of, m.Layer)
		}
	}
	var rules []Rule
	for _, s := range order {
		for _, pattern := range layerPatterns(layers[s]) {
			rules = append(rules, Rule{Match: fmt.Sprintf(p.layers, pattern), Spec: s})
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
