package quant

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/source"
	"nibble/model/text"
)

// ErrRecipe reports a recipe that cannot be read or names what does not exist.
var ErrRecipe = errors.New("recipe")

// methods are the words that name methods, with the recipes that are named for
// them; package method has what they mean.
var methods []namedMethod

type namedMethod struct {
	name     string
	strength int
	recipe   string
}

// registerName adds a method, and the recipe named for it: that with 4 bits,
// symmetric, in groups of 32. strength puts methods in order.
func registerName(name string, strength int, recipe string) {
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

// Spec says how one matrix is stored.
type Spec struct {
	Bits   int    `json:"bits"`             // 4 or 8; 16 keeps the matrix as the checkpoint stores it
	Group  int    `json:"group"`            // 32, 64 or 128 columns share a scale; 0 is the whole row
	Sym    bool   `json:"symmetric"`        // zero point in the middle
	Method string `json:"method,omitempty"` // one of Methods

	// Top is how many per cent of the rows have 8 bits where the others have 4: those
	// of the tokens that the calibration has most. For the embedding and the output
	// head, whose rows are tokens.
	Top int `json:"top,omitempty"`
}

// Keep leaves a matrix as it is stored.
var Keep = Spec{Bits: 16}

// Kept reports whether the spec leaves the matrix alone.
func (s Spec) Kept() bool { return s.Bits == 16 }

// Scheme returns the storage scheme; it is meaningless for a kept matrix.
func (s Spec) Scheme() kernels.Scheme {
	return kernels.Scheme{Bits: s.Bits, Group: s.Group, Sym: s.Sym, Top: s.Top}
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
	spec := r.asked(m)
	if m.Layer >= 0 {
		spec.Top = 0
	}
	return spec
}

// asked returns the spec that the recipe names for a module.
func (r Recipe) asked(m model.Module) Spec {
	spec := r.Default
	if m.Layer < 0 {
		spec = Keep
	}
	for _, rule := range r.Rules {
		if rule.matches(m.Name) {
			spec = rule.Spec
		}
	}
	return spec
}

func (r Rule) matches(name string) bool {
	if !strings.Contains(r.Match, ".") {
		name = lastPart(name)
	}
	return matches(r.Match, name)
}

// largeShare is the share of a model's weights above which an embedding or output
// head is not kept by the recipes that have names: at 16 bits it would outweigh what
// they save, and who asks for q4 does not mean 7 bits a weight.
const largeShare = 0.1

// safeSpec is how it is stored then: with 8 bits rounding is all that is needed.
var safeSpec = Spec{Bits: 8, Group: 32, Sym: true, Method: "rtn"}

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
		if m.Layer < 0 && !r.names(m) && float64(m.Rows*m.Cols) > largeShare*float64(all) {
			r.Rules, r.raised = append(r.Rules, Rule{lastPart(m.Name), safeSpec}), append(r.raised, m.Name)
		}
	}
	return r
}

// names reports whether a rule is for a module.
func (r Recipe) names(m model.Module) bool {
	return slices.ContainsFunc(r.Rules, func(rule Rule) bool { return rule.matches(m.Name) })
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

// tied reports whether the rule is for the output head alone, which a model with
// tied embeddings does not have.
func (r Rule) tied(c model.Config) bool { return r.matches(outputHead) && !r.matches(c.Embed.Path) }

// outputHead is what nearly all models call a head that is not tied.
const outputHead = "lm_head"

// CheckFor reports rules that match nothing in the model, which are mistakes. A
// rule for the output head is none when that is tied to the embedding, so that
// one recipe serves both kinds of model.
func (r Recipe) CheckFor(c model.Config) error {
	for _, rule := range r.Rules {
		if c.Tied && rule.matches(outputHead) {
			continue
		}
		if !slices.ContainsFunc(c.Modules(), func(m model.Module) bool { return rule.matches(m.Name) }) {
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

// Named lists the recipes that have names: those of formats, with those named for
// methods between.
func Named() []Recipe {
	all := [][2]string{
		{"q4", "w4 g32 sym mse"},
		{"q4-small", "w4 g128 sym mse; embed_tokens w8 g128 sym mse"},
		{"q4-asym", "w4 g32 asym mse"},
	}
	for _, m := range methods {
		if m.recipe != "" {
			all = append(all, [2]string{m.recipe, "w4 g32 sym " + m.name})
		}
	}
	all = append(all, [2]string{"q8", "w8 g32 sym rtn"})
	var out []Recipe
	for _, named := range all {
		r, err := parseShort(named[1])
		if err != nil {
			panic(err) // the methods that it names are part of the program
		}
		r.Name, r.named = named[0], true
		out = append(out, r)
	}
	return out
}

// DefaultRecipe is used when none is given.
func DefaultRecipe() Recipe { return Named()[0] }

// ParseRecipe reads a recipe: the name of one, the path of a recipe.json, or a
// short form such as
//
//	w4 g128 sym mse
//	w4 g32 asym rtn; lm_head w8 g32 sym rtn; model.layers.0.* keep
func ParseRecipe(s string) (Recipe, error) {
	s = strings.TrimSpace(s)
	for _, r := range Named() {
		if r.Name == s {
			return r, nil
		}
	}
	if strings.HasSuffix(s, ".json") {
		return readRecipe(s)
	}
	first := s
	if i := strings.IndexAny(s, " ;"); i >= 0 {
		first = s[:i]
	}
	if !shortForm(first) {
		var names []string
		for _, r := range Named() {
			names = append(names, r.Name)
		}
		return Recipe{}, fmt.Errorf("%w: %q is no recipe: give a name (%s), a short form such as \"w4 g128 sym mse\", or a recipe.json",
			ErrRecipe, s, strings.Join(names, ", "))
	}
	return parseShort(s)
}

// parseShort reads a short form.
func parseShort(s string) (Recipe, error) {
	r := Recipe{Name: s}
	for i, clause := range strings.Split(s, ";") {
		words := strings.Fields(clause)
		match := ""
		if i > 0 {
			if len(words) < 2 {
				return Recipe{}, fmt.Errorf("%w: %q is no rule: give a pattern and a spec", ErrRecipe, strings.TrimSpace(clause))
			}
			match, words = words[0], words[1:]
		}
		spec, err := parseSpec(words)
		if err != nil {
			return Recipe{}, err
		}
		if i == 0 {
			r.Default = spec
		} else {
			r.Rules = append(r.Rules, Rule{match, spec})
		}
	}
	return r, r.Validate()
}

func shortForm(word string) bool {
	_, err := strconv.Atoi(strings.TrimPrefix(word, "w"))
	return strings.HasPrefix(word, "w") && err == nil || word == "keep"
}

// parseSpec reads "w4 g128 sym mse"; what is left out is g32, sym, mse.
func parseSpec(words []string) (Spec, error) {
	if len(words) == 1 && words[0] == "keep" {
		return Keep, nil
	}
	s := Spec{Group: 32, Sym: true, Method: "mse"}
	for _, w := range words {
		switch {
		case w == "sym":
			s.Sym = true
		case w == "asym":
			s.Sym = false
		case w == "channel":
			s.Group = 0
		case slices.Contains(Methods(), w):
			s.Method = w
		case shortForm(w) && w != "keep":
			s.Bits, _ = strconv.Atoi(w[1:])
		case strings.HasPrefix(w, "top") && strings.HasSuffix(w, "%"):
			n, err := strconv.Atoi(w[3 : len(w)-1])
			if err != nil || n < 1 {
				return s, fmt.Errorf("%w: %q is not understood: it is top1%% to top99%%", ErrRecipe, w)
			}
			s.Top = n
		case len(w) > 1 && w[0] == 'g' && isDigits(w[1:]):
			s.Group, _ = strconv.Atoi(w[1:])
			if s.Group == 0 {
				return s, fmt.Errorf("%w: group size 0 (there are: 32, 64, 128 and channel)", ErrRecipe)
			}
		default:
			return s, fmt.Errorf("%w: %q is not understood: a spec is bits (w4, w8), group (g32, g64, g128, channel), sym or asym, perhaps rows with 8 bits (top10%%), and a method (%s)",
				ErrRecipe, w, strings.Join(Methods(), ", "))
		}
	}
	return s, s.Validate()
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" && len(s) < 9 }

// Bounds of a recipe: its file, and its rules, of which the largest models need a
// thousand.
const (
	maxRecipe = 4 << 20
	maxRules  = 10_000
)

func readRecipe(file string) (Recipe, error) {
	data, _, err := source.Read(file, maxRecipe)
	if errors.Is(err, fs.ErrNotExist) {
		return Recipe{}, fmt.Errorf("%w: %s: there is no such file", ErrRecipe, file)
	} else if err != nil {
		return Recipe{}, fmt.Errorf("%w: %w", ErrRecipe, err)
	}
	plain, _, err := text.Decode(data)
	if err != nil {
		return Recipe{}, fmt.Errorf("%w: %s: %w", ErrRecipe, file, err)
	}
	var r Recipe
	d := json.NewDecoder(strings.NewReader(plain))
	d.DisallowUnknownFields() // a misspelt field would silently be left out
	if err := d.Decode(&r); err != nil {
		return Recipe{}, fmt.Errorf("%w: %s: %v", ErrRecipe, file, err)
	}
	if err := r.Validate(); err != nil {
		return Recipe{}, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}
