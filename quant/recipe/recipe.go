package recipe

import (
	"fmt"
	"slices"
	"strings"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/source"
)

// Rule gives the matrices whose names match a pattern a spec of their own.
type Rule struct {
	// Match is a module name such as "model.layers.0.mlp.down_proj", in which
	// stars stand for anything; a pattern without a dot matches the last part of
	// a name ("down_proj", "lm_head", "*_proj").
	Match string `json:"match"`
	Spec
}

// Recipe says how every matrix of a model is stored. Later rules win. The
// embedding and the output head are kept unless a rule names them; but see Fitted.
type Recipe struct {
	Name    string `json:"name"`
	Default Spec   `json:"default"`
	Rules   []Rule `json:"rules,omitempty"`

	named  bool     // one of Named
	raised []string // matrices that Fitted gave a rule
}

// For returns the spec of a module. Top is 0 where rows are not tokens.
func (r Recipe) For(m model.Module) Spec {
	spec := r.Asked(m)
	if !m.TokenRows() {
		spec.Top = 0
	}
	return spec
}

// Asked returns the spec that the recipe names for a module.
func (r Recipe) Asked(m model.Module) Spec {
	for _, rule := range slices.Backward(r.Rules) { // later rules win
		if rule.Matches(m.Name) {
			return rule.Spec
		}
	}
	if m.Layer < 0 {
		return Keep
	}
	return r.Default
}

// Matches reports whether the rule is for a matrix of a name.
func (r Rule) Matches(name string) bool {
	if !strings.Contains(r.Match, ".") {
		name = lastPart(name)
	}
	return matches(r.Match, name)
}

// LargeShare is the share of a model's weights above which an embedding or output
// head is not kept by the recipes that have names: at 16 bits it would outweigh what
// they save, and who asks for q4 does not mean 7 bits a weight.
const LargeShare = 0.1

// SafeSpec is how it is stored then: with 8 bits rounding is all that is needed.
var SafeSpec = Spec{Bits: 8, Group: 32, Sym: true, Method: "rtn"}

// Fitted returns the recipe with what it does to a model made explicit. Those that
// have names give an embedding or output head that is a large part of the model 8
// bits, unless they name it themselves; any other recipe means what it says.
func (r Recipe) Fitted(c model.Config) Recipe {
	if !r.named || r.raised != nil {
		return r
	}
	all := 0
	for _, m := range c.Modules() {
		all += m.Rows * m.Cols
	}
	r.Rules = slices.Clone(r.Rules)
	for _, m := range c.Modules() {
		if m.Layer < 0 && !r.Names(m) && float64(m.Rows*m.Cols) > LargeShare*float64(all) {
			r.Rules, r.raised = append(r.Rules, Rule{lastPart(m.Name), SafeSpec}), append(r.raised, m.Name)
		}
	}
	return r
}

// Raised returns the matrices that Fitted gave a rule.
func (r Recipe) Raised() []string { return r.raised }

// Names reports whether a rule is for a module.
func (r Recipe) Names(m model.Module) bool {
	return slices.ContainsFunc(r.Rules, func(rule Rule) bool { return rule.Matches(m.Name) })
}

// Validate checks every spec and pattern.
func (r Recipe) Validate() error {
	if err := r.Default.Validate(); err != nil {
		return err
	}
	if n := len(r.Rules); n > maxRules {
		return fmt.Errorf("%w: %d rules are too many (at most %d)", ErrRecipe, n, maxRules)
	}
	for _, rule := range r.Rules {
		if !wellFormed(rule.Match) {
			return fmt.Errorf("%w: pattern %s is malformed", ErrRecipe, source.Quote(rule.Match))
		}
		if err := rule.Validate(); err != nil {
			return fmt.Errorf("%s: %w", source.Quote(rule.Match), err)
		}
	}
	return nil
}

// Tied reports whether the rule is for the output head alone, which a model with
// tied embeddings does not have.
func (r Rule) Tied(c model.Config) bool { return r.Matches(OutputHead) && !r.Matches(c.Embed.Path) }

// OutputHead is what nearly all models call a head that is not tied.
const OutputHead = "lm_head"

// CheckFor reports rules that match nothing in the model, which are mistakes. A
// rule for the output head is none when that is tied to the embedding, so that
// one recipe serves both kinds of model.
func (r Recipe) CheckFor(c model.Config) error {
	for _, rule := range r.Rules {
		if c.Tied && rule.Matches(OutputHead) {
			continue
		}
		if !slices.ContainsFunc(c.Modules(), func(m model.Module) bool { return rule.Matches(m.Name) }) {
			return fmt.Errorf("%w: pattern %s matches none of the model's matrices (for example %s)", ErrRecipe, source.Quote(rule.Match), c.Modules()[1].Name)
		}
	}
	return nil
}

// String returns the short form, which ParseRecipe reads back.
func (r Recipe) String() string {
	parts := []string{r.Default.String()}
	for _, rule := range r.Rules {
		parts = append(parts, rule.Match+" "+rule.Spec.String())
	}
	return strings.Join(parts, "; ")
}

// Schemes returns the storage schemes a recipe gives the matrices of a model;
// kept ones are not listed.
func Schemes(c model.Config, r Recipe) map[string]kernels.Scheme {
	schemes := make(map[string]kernels.Scheme)
	for _, m := range c.Modules() {
		if s := r.For(m); !s.Kept() {
			schemes[m.Name] = s.Scheme()
		}
	}
	return schemes
}
