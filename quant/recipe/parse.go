package recipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"nibble/kernels"
	"nibble/model/source"
	"nibble/model/text"
)

// Parse reads a recipe: the name of one, the path of a recipe.json, or a
// short form such as
//
//	w4 g128 sym mse
//	w4 g32 asym rtn; lm_head w8 g32 sym rtn; model.layers.0.* keep
func Parse(s string) (Recipe, error) {
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
	return strings.HasPrefix(word, "w") && err == nil || word == "keep" || isTable(word)
}

// isTable reports whether a word names a code table.
func isTable(word string) bool { return word != "" && tables[word] != kernels.Even }

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
		case isTable(w):
			s.Bits, s.Table = 4, w
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
			return s, fmt.Errorf("%w: %q is not understood: a spec is bits (w4, w8) or a code table (nl4), group (g32, g64, g128, channel), sym or asym, perhaps rows with 8 bits (top10%%), and a method (%s)",
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
