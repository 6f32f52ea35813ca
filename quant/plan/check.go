package plan

import (
	"errors"
	"fmt"

	"nibble/model"
	"nibble/quant/recipe"
)

// ErrQuantized reports a source that is quantized already.
var ErrQuantized = errors.New("the model is quantized already")

// Check refuses what cannot be quantized, and fits the recipe to the model.
func Check(ck *model.Checkpoint, r recipe.Recipe) (recipe.Recipe, error) {
	if ck.Quantized {
		return r, fmt.Errorf("%s: %w: give the float model it was made from", ck.Ref, ErrQuantized)
	}
	if err := r.Validate(); err != nil {
		return r, err
	}
	r = r.Fitted(ck.Config)
	return r, r.CheckFor(ck.Config)
}
