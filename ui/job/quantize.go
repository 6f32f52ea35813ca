package job

import (
	"io"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
)

// Quantize asks for a model by one recipe.
type Quantize struct {
	Recipe      string // a name, a short form or a recipe.json; "" is the default
	Out         string // directory; "" is memory alone
	Calibration Calibration
	Restart     bool // forget what an unfinished run left
	Force       bool // begin even if memory seems too small
}

// Parse reads the recipe, which needs no model.
func (q Quantize) Parse() (quant.Recipe, error) {
	if q.Recipe == "" {
		return quant.DefaultRecipe(), nil
	}
	return quant.ParseRecipe(q.Recipe)
}

// For reads what the job names, for a model. stdin is as in Calibration.Read. Of
// an error the recipe is there as far as it could be read.
func (q Quantize) For(eng *kernels.Engine, ck *model.Checkpoint, stdin io.Reader) (quant.Options, error) {
	o := quant.Options{Engine: eng, Source: ck, Out: q.Out, Restart: q.Restart, Force: q.Force}
	var err error
	if o.Recipe, err = q.Parse(); err != nil {
		return o, err
	}
	o.Calibration, err = q.Calibration.For(ck, o.Recipe, stdin)
	return o, err
}
