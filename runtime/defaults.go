package runtime

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"nibble/model"
)

// DefaultOptions are the options of a model for which nothing is asked: what its
// generation_config.json says
// (https://huggingface.co/docs/transformers/main_classes/text_generation), and
// for what it leaves open a temperature of 0.7 and top-p of 0.9. The notes tell
// what it says and does not get.
//
// do_sample decides when it is there: false is greedy, whatever the temperature.
// A file without it says nothing of it; transformers then is greedy, which is
// not what people expect of a chat.
func DefaultOptions(g model.Generation) (GenOptions, []string) {
	f := generationFields{fields: g.Fields, notes: slices.Clone(g.Notes), o: GenOptions{Temp: 0.7, TopP: 0.9, RepeatPenalty: 1}}
	f.number("temperature", math.NaN(), func(o *GenOptions, v float64) { o.Temp = v })
	f.number("top_p", 1, func(o *GenOptions, v float64) { o.TopP = v })
	f.number("min_p", 0, func(o *GenOptions, v float64) { o.MinP = v })
	f.number("repetition_penalty", math.NaN(), func(o *GenOptions, v float64) {
		if o.RepeatPenalty = v; v == 0 {
			o.RepeatPenalty = -1 // nothing is divided by 0
		}
	})
	f.whole("top_k", func(o *GenOptions, v int) { o.TopK = v })
	f.whole("max_new_tokens", func(o *GenOptions, v int) { o.MaxTokens = v })
	f.whole("max_length", func(o *GenOptions, v int) { o.MaxLength = v })
	if sample, ok := field[bool](&f, "do_sample", "true or false"); ok && !sample {
		f.o.Temp = 0
	}
	stop, _ := field[texts](&f, "stop_strings", "a text or a list of texts")
	f.o.Stop = slices.DeleteFunc(stop, func(s string) bool { return s == "" })
	f.o.Banned, _ = field[[][]int32](&f, "bad_words_ids", "a list of lists of token ids")
	suppress, _ := field[[]int32](&f, "suppress_tokens", "a list of token ids")
	for _, id := range suppress {
		f.o.Banned = append(f.o.Banned, []int32{id})
	}
	f.tellOthers()
	return f.o, f.notes
}

// RandomSeed returns a seed for a text that need not be the same next time. It
// is short, so that it can be typed and every JSON reader holds it.
func RandomSeed() uint64 { return uint64(rand.Uint32()) }

// generationFields takes options from generation_config.json.
type generationFields struct {
	fields map[string]json.RawMessage
	o      GenOptions
	notes  []string
}

func (f *generationFields) has(key string) bool {
	raw := f.fields[key]
	return len(raw) > 0 && string(raw) != "null"
}

func (f *generationFields) tell(key, what string) {
	f.notes = append(f.notes, fmt.Sprintf("generation_config.json: %s is %s, %s: it is ignored", key, brief(f.fields[key]), what))
}

// brief is a value as a note shows it.
func brief(raw json.RawMessage) string {
	const most = 40
	if len(raw) > most {
		return strings.ToValidUTF8(string(raw[:most]), "") + "…"
	}
	return string(raw)
}

// field decodes a field if it is there, or tells that it is not what it should be.
func field[T any](f *generationFields, key, what string) (v T, ok bool) {
	if !f.has(key) {
		return v, false
	}
	if json.Unmarshal(f.fields[key], &v) != nil {
		f.tell(key, "not "+what)
		return *new(T), false
	}
	return v, true
}

// number gives a number to an option and tells of those out of range; -1 stands
// for off, the value that turns the option off, NaN if there is none.
func (f *generationFields) number(key string, off float64, set func(*GenOptions, float64)) {
	v, ok := field[float64](f, key, "a number")
	if !ok {
		return
	}
	if v == -1 && off == off {
		v = off
	}
	o := f.o
	if set(&o, v); o.Validate() != nil {
		f.tell(key, "out of range")
		return
	}
	f.o = o
}

// whole is number for counts, which may be written as 50.0; 0 and -1 turn them
// off.
func (f *generationFields) whole(key string, set func(*GenOptions, int)) {
	f.number(key, 0, func(o *GenOptions, v float64) {
		if v != math.Trunc(v) || v > math.MaxInt32 {
			v = -1 // which is out of range here
		}
		set(o, int(v))
	})
}

// texts is a text or a list of them.
type texts []string

func (t *texts) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(t))
}

// obeyed are the fields that DefaultOptions and the model read.
var obeyed = []string{"do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens", "max_length", "stop_strings",
	"suppress_tokens", "bad_words_ids", "eos_token_id"}

// harmless are fields that do not change what one greedy or sampled text says:
// how it is computed or returned, and the parameters of searches that are told of
// by themselves.
var harmless = []string{"bos_token_id", "pad_token_id", "decoder_start_token_id", "transformers_version", "use_cache", "cache_implementation",
	"cache_config", "return_legacy_cache", "prefill_chunk_size", "compile_config", "disable_compile", "low_memory", "return_dict_in_generate",
	"output_scores", "output_logits", "output_attentions", "output_hidden_states", "num_return_sequences", "length_penalty", "early_stopping",
	"diversity_penalty", "renormalize_logits", "remove_invalid_values", "prompt_lookup_num_tokens", "max_matching_ngram_size", "num_assistant_tokens",
	"num_assistant_tokens_schedule", "assistant_confidence_threshold", "assistant_early_exit", "assistant_lookbehind", "target_lookbehind",
	"is_assistant", "generation_kwargs", "trust_remote_code", "chat_format", "max_window_size"}

// neutral are the values, as JSON, with which a field that nibble does not have
// asks for nothing.
var neutral = map[string][]string{"num_beams": {"1"}, "num_beam_groups": {"1"}, "typical_p": {"1"}, "epsilon_cutoff": {"0"}, "eta_cutoff": {"0"},
	"top_h": {"1"}, "penalty_alpha": {"0"}, "no_repeat_ngram_size": {"0"}, "encoder_no_repeat_ngram_size": {"0"}, "encoder_repetition_penalty": {"1"},
	"guidance_scale": {"1"}, "min_length": {"0"}, "min_new_tokens": {"0"}, "token_healing": {"false"}, "begin_suppress_tokens": {"[]"},
	"sequence_bias": {"[]", "{}"}}

// tellOthers tells of fields that ask for what nibble does not do, in order.
func (f *generationFields) tellOthers() {
	for _, key := range slices.Sorted(maps.Keys(f.fields)) {
		raw := strings.TrimSuffix(string(f.fields[key]), ".0")
		if !f.has(key) || strings.HasPrefix(key, "_") || slices.Contains(obeyed, key) || slices.Contains(harmless, key) || slices.Contains(neutral[key], raw) {
			continue
		}
		f.tell(key, "which nibble does not do")
	}
}
