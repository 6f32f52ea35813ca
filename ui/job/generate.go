package job

import (
	"nibble/model"
	rt "nibble/runtime"
)

// Generation is how text is asked for. What is nil is as the model's own
// generation_config.json says.
type Generation struct {
	Tokens        *int     // most of an answer; 0 is until the text or the context ends
	Temp          *float64 // 0 takes the likeliest token
	TopP          *float64
	TopK          *int
	MinP          *float64
	RepeatPenalty *float64
	Stop          []string
	Seed          *uint64 // another one each time if nil
}

// For is the model's own settings with what is asked for instead, and notes on
// what is not as its generation_config.json says.
func (g Generation) For(of model.Generation) (rt.GenOptions, []string) {
	o, notes := rt.DefaultOptions(of)
	if o.Temp == 0 && g.Temp == nil && (g.TopP != nil || g.TopK != nil || g.MinP != nil || g.Seed != nil) {
		notes = append(notes, "generation_config.json asks for the likeliest tokens: a temperature above 0 samples others")
	}
	if g.Tokens != nil {
		o.MaxTokens, o.MaxLength = *g.Tokens, 0
	}
	set(&o.Temp, g.Temp)
	set(&o.TopP, g.TopP)
	set(&o.TopK, g.TopK)
	set(&o.MinP, g.MinP)
	set(&o.RepeatPenalty, g.RepeatPenalty)
	if g.Stop != nil {
		o.Stop = g.Stop
	}
	if g.Seed != nil {
		o.Seed = *g.Seed
	} else {
		o.Seed = rt.RandomSeed()
	}
	return o, notes
}

// Validate reports a value that means nothing, before a model is loaded.
func (g Generation) Validate() error {
	o, _ := g.For(model.Generation{})
	return o.Validate()
}

func set[T any](to, value *T) {
	if value != nil {
		*to = *value
	}
}
