package plan

import (
	"nibble/model"
	"nibble/quant/recipe"
)

// Requantized is what results say whose source was quantized before.
const Requantized = "the source is quantized already: what that lost stays lost, and quantizing again adds to it; give the float model it was made from if you have it"

// Check refuses what cannot be quantized, and fits the recipe to the model.
func Check(ck *model.Checkpoint, r recipe.Recipe) (recipe.Recipe, error) {
	if err := r.Validate(); err != nil {
		return r, err
	}
	r = r.Fitted(ck.Config)
	return r, r.CheckFor(ck.Config)
}
