package space

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"nibble/quant"
)

// Default is the specs that are offered if none are given, as Parse reads them.
const Default = "w4 g32/g64/g128/channel sym/asym gptq/mse/rtn/autoround, nl4 g32 gptq/mse/autoround, " + TokenRows + ", w8 g32/g128/channel sym rtn, keep"

// TokenRows is specs between 4 and 8 bits for matrices whose rows are tokens.
const TokenRows = "w4 g32/g128 sym gptq/mse top2%/top5%/top10%/top20%/top40%/top70%"

// ErrSpecs reports specs that cannot be read or offered.
var ErrSpecs = errors.New("specs")

// most bounds the specs offered.
const most = 256

// Parse reads the specs that a search may use: as recipes have them, with commas
// between. Slashes stand for several specs: "w4 g32/g128 gptq, keep" are three.
func Parse(s string) ([]quant.Spec, error) {
	var specs []quant.Spec
	for _, clause := range strings.Split(s, ",") {
		variants := []string{""}
		for _, word := range strings.Fields(clause) {
			var next []string
			for _, v := range variants {
				for _, w := range strings.Split(word, "/") {
					if w == "" {
						return nil, fmt.Errorf("%w: %q: there is nothing on one side of a slash", ErrSpecs, word)
					}
					next = append(next, strings.TrimSpace(v+" "+w))
				}
			}
			if variants = next; len(variants) > most {
				return nil, fmt.Errorf("%w: there are more than %d", ErrSpecs, most)
			}
		}
		for _, v := range variants {
			r, err := quant.ParseRecipe(v)
			if err != nil || len(r.Rules) > 0 || strings.HasSuffix(v, ".json") {
				if err == nil {
					err = fmt.Errorf("%q is a whole recipe", v)
				}
				return nil, fmt.Errorf("%w: give them with commas between, such as %q: %w", ErrSpecs, "w4 g32/g128 gptq, w8 rtn, keep", err)
			}
			if !slices.Contains(specs, r.Default) {
				specs = append(specs, r.Default)
			}
		}
	}
	return specs, Check(specs)
}

// Check reports specs that are not valid, or too many or too few.
func Check(specs []quant.Spec) error {
	if len(specs) == 0 || len(specs) > most {
		return fmt.Errorf("%w: there are %d (1 to %d are possible)", ErrSpecs, len(specs), most)
	}
	for _, s := range specs {
		if err := s.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrSpecs, err)
		}
	}
	return nil
}
