package workbench

import (
	"fmt"
	"strconv"

	"nibble/ui/job"
)

// chatForm takes how answers are asked for.
type chatForm struct {
	form
	system, temp, topP, topK, minP, repeat, tokens, seed *field
}

func newChatForm() chatForm {
	number := func(value string) error {
		_, err := strconv.ParseFloat(value, 64)
		return err
	}
	const own = "as the model's generation_config.json says"
	f := chatForm{
		system: &field{label: "instructions", empty: "none", help: "a system prompt that opens the conversation"},
		temp:   &field{label: "temperature", empty: own, help: "0 takes the likeliest token, 1 what the model means", check: number},
		topP:   &field{label: "top-p", empty: own, help: "keep the likeliest tokens up to this mass; 1 keeps all", check: number},
		topK:   &field{label: "top-k", empty: own, help: "keep the k likeliest tokens; 0 keeps all", check: atLeast(0)},
		minP:   &field{label: "min-p", empty: own, help: "drop tokens below this share of the likeliest", check: number},
		repeat: &field{label: "repetition", empty: own, help: "a penalty of tokens that were there before; 1 is none", check: number},
		tokens: &field{label: "tokens", empty: "until the text or the context ends", help: "most tokens of an answer", check: atLeast(1)},
		seed:   &field{label: "seed", empty: "another one each time", help: "same seed, same text", check: atLeast(0)},
	}
	f.fields = []*field{f.system, f.temp, f.topP, f.topK, f.minP, f.repeat, f.tokens, f.seed}
	return f
}

// mistake is the first in the fields, or what only the whole shows.
func (f *chatForm) mistake() error {
	if err := f.err(); err != nil {
		return err
	}
	return f.settings().Validate()
}

// settings are what the fields say; those that are empty are the model's own.
func (f *chatForm) settings() job.Generation {
	float := func(x *field) *float64 {
		v, err := strconv.ParseFloat(x.text(), 64)
		if err != nil {
			return nil
		}
		return &v
	}
	whole := func(x *field) *int {
		if x.text() == "" {
			return nil
		}
		n := x.number()
		return &n
	}
	g := job.Generation{Tokens: whole(f.tokens), Temp: float(f.temp), TopP: float(f.topP), TopK: whole(f.topK), MinP: float(f.minP), RepeatPenalty: float(f.repeat)}
	if n := whole(f.seed); n != nil {
		seed := uint64(*n)
		g.Seed = &seed
	}
	return g
}

// words tells the settings that are not the model's own, "" if there are none.
func (f *chatForm) words() string {
	text := ""
	for _, x := range f.fields[1:] {
		if x.text() != "" {
			text += fmt.Sprintf(" %s %s", x.label, x.text())
		}
	}
	return text
}
