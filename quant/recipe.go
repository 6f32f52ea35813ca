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

// The methods.
const (
	RTN  = "rtn"  // round to nearest, the scale from the largest weight of the group
	MSE  = "mse"  // round to nearest, the scale searched for the least squared error
	GPTQ = "gptq" // column by column, each error made up for by the next; needs a calibration

	IMatrix = "imatrix" // the search weighed by how large inputs are; needs a calibration
	AWQ     = "awq"     // imatrix after scaling columns that see large inputs up; needs a calibration

	// Rounding trained by signed gradients, layer by layer; needs a calibration.
	AutoRound      = "autoround"
	AutoRoundLight = "autoround-light" // a quarter of the iterations
	AutoRoundBest  = "autoround-best"  // and then that of all layers and the output head together, for the model's own outputs
)

// Methods lists the methods by name.
func Methods() []string {
	return []string{RTN, MSE, IMatrix, AWQ, GPTQ, AutoRoundLight, AutoRound, AutoRoundBest}
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

// largeSpec is how it is stored then.
var largeSpec = Spec{Bits: 8, Group: 32, Sym: true, Method: RTN}

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
			r.Rules, r.raised = append(r.Rules, Rule{lastPart(m.Name), largeSpec}), append(r.raised, m.Name)
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

// Calibrated reports whether a matrix of the model needs a calibration.
func (r Recipe) Calibrated(c model.Config) bool {
	return r.measures(c) || slices.ContainsFunc(c.Modules(), func(m model.Module) bool { return r.For(m).Top > 0 })
}

// measures reports whether the inputs of a matrix are measured: the calibration's
// tokens go through the model, and are not only counted.
func (r Recipe) measures(c model.Config) bool {
	whole := r.trainsWhole(c)
	return slices.ContainsFunc(c.Modules(), func(m model.Module) bool {
		s, _ := r.planned(m, whole)
		return s.measures()
	})
}

// measures reports whether what is done measures the inputs of the matrix.
func (s Spec) measures() bool { return !s.Kept() && methodOf(s.Method).inputs }

// planned returns what is done with a matrix, whole telling whether the model is
// trained as a whole: what the recipe says, or, where its method cannot work,
// another and a note that says why.
func (r Recipe) planned(m model.Module, whole bool) (Spec, string) {
	s := r.For(m)
	if s.Kept() {
		return s, ""
	}
	switch f := methodOf(s.Method); {
	case f.inputs && inputOf(m) == "":
		note := s.Method + " needs inputs that are multiplied; the scales were searched instead"
		s.Method = MSE
		return s, note
	case f.matrix == nil && m.Layer < 0 && !(whole && s.Method == AutoRoundBest):
		note := s.Method + " needs a whole layer; " + GPTQ + " was used instead"
		s.Method = GPTQ
		return s, note
	}
	if top := r.asked(m).Top; top > s.Top {
		return s, fmt.Sprintf("top%d%% is of rows that are tokens; all rows have %d bits", top, s.Bits)
	}
	return s, ""
}

// String returns the short form, which ParseRecipe reads back.
func (r Recipe) String() string {
	parts := []string{r.Default.String()}
	for _, rule := range r.Rules {
		parts = append(parts, rule.Match+" "+rule.Spec.String())
	}
	return strings.Join(parts, "; ")
}

// Named lists the recipes that have names.
func Named() []Recipe {
	spec := func(bits, group int, sym bool, method string) Spec {
		return Spec{Bits: bits, Group: group, Sym: sym, Method: method}
	}
	mk := func(name string, s Spec, rules ...Rule) Recipe {
		return Recipe{Name: name, Default: s, Rules: rules, named: true}
	}
	return []Recipe{
		mk("q4", spec(4, 32, true, MSE)),
		mk("q4-small", spec(4, 128, true, MSE), Rule{"embed_tokens", spec(8, 128, true, MSE)}),
		mk("q4-asym", spec(4, 32, false, MSE)),
		mk("q4-rtn", spec(4, 32, true, RTN)),
		mk("q4-gptq", spec(4, 32, true, GPTQ)),
		mk("q4-autoround", spec(4, 32, true, AutoRound)),
		mk("q4-best", spec(4, 32, true, AutoRoundBest)),
		mk("q8", spec(8, 32, true, RTN)),
	}
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
	s := Spec{Group: 32, Sym: true, Method: MSE}
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
