package runtime

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"nibble/model"
)

func TestDefaultOptions(t *testing.T) {
	plain := GenOptions{Temp: 0.7, TopP: 0.9, RepeatPenalty: 1}
	with := func(change func(*GenOptions)) GenOptions {
		o := plain
		change(&o)
		return o
	}
	for file, c := range map[string]struct {
		want GenOptions
		told string // a note has it; "" is no note
	}{
		`{}`: {plain, ""},
		`{"temperature": 0.3, "top_p": 0.5, "min_p": 0.1, "top_k": 40, "repetition_penalty": 1.1}`:                                               {GenOptions{Temp: 0.3, TopP: 0.5, MinP: 0.1, TopK: 40, RepeatPenalty: 1.1}, ""},
		`{"temperature": null, "top_p": null, "top_k": null, "do_sample": null, "stop_strings": null, "bad_words_ids": null, "num_beams": null}`: {plain, ""},

		`{"do_sample": false, "temperature": 0.6}`: {with(func(o *GenOptions) { o.Temp = 0 }), ""},
		`{"do_sample": true, "temperature": 0.6}`:  {with(func(o *GenOptions) { o.Temp = 0.6 }), ""},
		`{"do_sample": "no"}`:                      {plain, `do_sample is "no", not true or false`},
		`{"temperature": 0}`:                       {with(func(o *GenOptions) { o.Temp = 0 }), ""},
		`{"temperature": -1}`:                      {plain, "temperature is -1, out of range"},
		`{"temperature": "0.6"}`:                   {plain, `temperature is "0.6", not a number`},
		`{"temperature": 1e400}`:                   {plain, "temperature is 1e400, not a number"},
		`{"top_k": 50.0}`:                          {with(func(o *GenOptions) { o.TopK = 50 }), ""},
		`{"top_k": -1}`:                            {plain, ""},
		`{"top_k": 0}`:                             {plain, ""},
		`{"top_k": 50.5}`:                          {plain, "top_k is 50.5, out of range"},
		`{"top_k": -7}`:                            {plain, "top_k is -7, out of range"},
		`{"top_k": 1e12}`:                          {plain, "top_k is 1e12, out of range"},
		`{"top_p": 0}`:                             {with(func(o *GenOptions) { o.TopP = 0 }), ""},
		`{"top_p": -1}`:                            {with(func(o *GenOptions) { o.TopP = 1 }), ""},
		`{"top_p": 1.5}`:                           {plain, "top_p is 1.5, out of range"},
		`{"min_p": -1}`:                            {plain, ""},
		`{"min_p": [1]}`:                           {plain, "min_p is [1], not a number"},
		`{"repetition_penalty": 0}`:                {plain, "repetition_penalty is 0, out of range"},
		`{"repetition_penalty": -1}`:               {plain, "repetition_penalty is -1, out of range"},
		`{"max_new_tokens": 12}`:                   {with(func(o *GenOptions) { o.MaxTokens = 12 }), ""},
		`{"max_length": 4096.0}`:                   {with(func(o *GenOptions) { o.MaxLength = 4096 }), ""},
		`{"stop_strings": "END"}`:                  {with(func(o *GenOptions) { o.Stop = []string{"END"} }), ""},
		`{"stop_strings": ["a", "", "b"]}`:         {with(func(o *GenOptions) { o.Stop = []string{"a", "b"} }), ""},
		`{"stop_strings": [1]}`:                    {plain, "stop_strings is [1], not a text"},
		`{"suppress_tokens": [5, 6], "bad_words_ids": [[1, 2]]}`: {with(func(o *GenOptions) { o.Banned = [][]int32{{1, 2}, {5}, {6}} }), ""},
		`{"bad_words_ids": [1]}`:                                 {plain, "bad_words_ids is [1], not a list of lists"},

		`{"num_beams": 1, "typical_p": 1.0, "no_repeat_ngram_size": 0, "guidance_scale": null, "pad_token_id": 0, "transformers_version": "5.0", "_from_model_config": true, "eos_token_id": [1]}`: {plain, ""},
		`{"num_beams": 4}`:                         {plain, "num_beams is 4, which nibble does not do"},
		`{"typical_p": 0.9}`:                       {plain, "typical_p is 0.9"},
		`{"no_repeat_ngram_size": 3}`:              {plain, "no_repeat_ngram_size is 3"},
		`{"something_new": {"a": 1}}`:              {plain, `something_new is {"a": 1}`},
		`{"x": "` + strings.Repeat("é", 99) + `"}`: {plain, `x is "ééééééééééééééééééé…, which`},
	} {
		var g model.Generation
		if err := json.Unmarshal([]byte(file), &g.Fields); err != nil {
			t.Fatal(file, err)
		}
		got, notes := DefaultOptions(g)
		if len(got.Stop) == 0 {
			got.Stop = nil
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", file, got, c.want)
		}
		if told := strings.Join(notes, "\n"); c.told == "" && told != "" || !strings.Contains(told, c.told) {
			t.Errorf("%s: told %q, want %q", file, told, c.told)
		}
	}
	if _, notes := DefaultOptions(model.Generation{Notes: []string{"unreadable"}}); len(notes) != 1 || notes[0] != "unreadable" {
		t.Errorf("what could not be read is not told: %q", notes)
	}
}
