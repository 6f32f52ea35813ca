package tokenizer

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// GGUF is a tokenizer as GGUF files have it.
type GGUF struct {
	Model  string    // "gpt2": BPE; "llama": SentencePiece's BPE; "gemma4": BPE of visible spaces; "t5": Unigram; "bert": WordPiece
	Pre    string    // the way to cut texts into words, "" where the file does not say
	Tokens []string  // by id
	Types  []int32   // numbers of kinds; nil: all are text
	Scores []float32 // of SentencePiece's pieces: the higher is merged first
	Merges []string  // of byte-level BPE

	Charsmap []byte // of Unigram, SentencePiece's table of characters

	BOS, EOS, Unknown, Pad int   // -1: none
	Separator              int   // ends texts of BERT
	Ends                   []int // tokens that end texts or turns
	AddBOS, AddEOS         *bool // nil: as the kind of tokenizer has it
	AddSpacePrefix         *bool
	TrimSpaces             *bool // of Unigram
	Lowercase              *bool // of BERT
	StripAccents           *bool
	Template               string            // of chats; "" for none
	Templates              map[string]string // others, by name
}

// GGUF's numbers of kinds of tokens.
const (
	ggufNormal      = 1
	ggufUnknown     = 2
	ggufControl     = 3
	ggufUserDefined = 4
	ggufUnused      = 5
	ggufByte        = 6
)

// GGUFKinds are those numbers, by the kinds of [Vocabulary].
var GGUFKinds = map[PieceKind]int32{Normal: ggufNormal, Unknown: ggufUnknown, Control: ggufControl, Added: ggufUserDefined, Unused: ggufUnused, Byte: ggufByte}

// Check reports a kind of tokenizer that is not known, and what there is to know
// about one that is. It looks at no token.
func (g *GGUF) Check() (notes []string, err error) {
	_, notes, err = g.preTokenizer()
	return notes, err
}

// preTokenizer is the way to cut texts into words, and whether something begins texts;
// models other than merges of bytes have their own.
func (g *GGUF) preTokenizer() (pre preTokenizer, notes []string, err error) {
	switch g.Model {
	case "gpt2":
		name := g.Pre
		if name == "" {
			name = "default"
			notes = append(notes, "the file does not say how texts are cut into words (tokenizer.ggml.pre): the ids of a text may differ from those of the model's own tokenizer")
		}
		pre, ok := preTokenizerNamed(name)
		if !ok || pre.tiktoken {
			return pre, nil, fmt.Errorf("%w: tokenizer.ggml.pre %q", ErrUnsupported, name)
		}
		return pre, notes, nil
	case "gemma4":
		pre, _ := preTokenizerNamed("gemma4")
		return pre, nil, nil
	case "llama", "bert":
		return preTokenizer{addBOS: true}, nil, nil
	case "t5":
		return preTokenizer{}, nil, nil
	}
	return pre, nil, fmt.Errorf("%w: tokenizer.ggml.model %q (gpt2, llama, gemma4, t5 and bert are)", ErrUnsupported, g.Model)
}

// Summary is what the tokenizer is, for people, as [Tokenizer.Kind] and
// [Tokenizer.VocabSize] have it once it is loaded.
func (g *GGUF) Summary() (kind string, size int) {
	size = len(g.Tokens)
	for size > 0 && !g.usable(size-1) {
		size--
	}
	switch pre, _, _ := g.preTokenizer(); {
	case g.Model == "t5":
		return Unigram, size
	case g.Model == "bert":
		return WordPiece, size
	case g.Model == "gpt2" && !pre.visibleSpaces:
		return ByteLevelBPE, size
	}
	return SentencePieceBPE, size
}

// adds says whether texts begin and end with a token.
func (g *GGUF) adds(pre preTokenizer) (bos, eos bool) {
	bos = pre.addBOS
	if g.AddBOS != nil {
		bos = *g.AddBOS
	}
	eos = g.Model == "t5" || g.Model == "bert"
	if g.AddEOS != nil && g.Model != "bert" { // whose separator is no end of texts
		eos = *g.AddEOS
	}
	return bos, eos
}

// TokenizerJSON returns the tokenizer.json of the same tokenizer.
func (g *GGUF) TokenizerJSON() ([]byte, error) {
	pre, _, err := g.preTokenizer()
	if err != nil {
		return nil, err
	}
	if len(g.Tokens) == 0 || len(g.Tokens) > maxID {
		return nil, fmt.Errorf("%w: %d tokens", ErrCorrupt, len(g.Tokens))
	}
	file := map[string]any{"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": g.added(), "post_processor": g.processor(g.adds(pre))}
	switch {
	case g.Model == "bert":
		err = g.wordPiece(file)
	case g.Model == "t5":
		err = g.unigram(file)
	case g.Model == "llama":
		err = g.scoredBPE(file)
	default:
		err = g.rankedBPE(file, pre)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(file)
}

// ConfigJSON returns the tokenizer_config.json of the same tokenizer.
func (g *GGUF) ConfigJSON() ([]byte, error) {
	pre, _, err := g.preTokenizer()
	if err != nil {
		return nil, err
	}
	bos, eos := g.adds(pre)
	config := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": bos, "add_eos_token": eos}
	for key, id := range map[string]int{"bos_token": g.BOS, "eos_token": g.EOS, "unk_token": g.Unknown, "pad_token": g.Pad} {
		if name := g.token(id); name != "" {
			config[key] = name
		}
	}
	switch {
	case len(g.Templates) > 0:
		list := []map[string]string{}
		if g.Template != "" {
			list = append(list, map[string]string{"name": "default", "template": g.Template})
		}
		for _, name := range slices.Sorted(maps.Keys(g.Templates)) {
			list = append(list, map[string]string{"name": name, "template": g.Templates[name]})
		}
		config["chat_template"] = list
	case g.Template != "":
		config["chat_template"] = g.Template
	}
	return json.Marshal(config)
}

// sequence is a component of several.
func sequence(key string, steps ...string) map[string]any {
	var all []json.RawMessage
	for _, s := range steps {
		all = append(all, json.RawMessage(s))
	}
	return map[string]any{"type": "Sequence", key: all}
}

// token is the text of an id, "" for none.
func (g *GGUF) token(id int) string {
	if id < 0 || id >= len(g.Tokens) || !g.usable(id) {
		return ""
	}
	return g.Tokens[id]
}

// kind is the number of a token's kind. Tokens that begin or end texts are no text,
// whatever the file says.
func (g *GGUF) kind(id int) int32 {
	kind := int32(ggufNormal)
	if id < len(g.Types) {
		kind = g.Types[id]
	}
	if kind == ggufNormal && g.Model == "gpt2" && (id == g.BOS || id == g.EOS || slices.Contains(g.Ends, id)) {
		return ggufControl
	}
	return kind
}

// usable reports whether a token can stand in a text: not one that only fills the
// table up, nor one that is not UTF-8.
func (g *GGUF) usable(id int) bool {
	text := g.Tokens[id]
	padding := g.kind(id) == ggufUnused && (text == fmt.Sprintf("[PAD%d]", id) || text == fmt.Sprintf("<pad%d>", id))
	return text != "" && !padding && utf8.ValidString(text)
}

// vocab is the table of tokens as a JSON object.
func (g *GGUF) vocab() (map[string]int, error) {
	vocab := make(map[string]int, len(g.Tokens))
	for id, text := range g.Tokens {
		if !g.usable(id) {
			continue
		}
		if other, twice := vocab[text]; twice {
			return nil, fmt.Errorf("%w: tokens %d and %d are both %q", ErrCorrupt, other, id, text)
		}
		vocab[text] = id
	}
	return vocab, nil
}

// added lists the tokens that are looked for in a text before it is cut.
func (g *GGUF) added() []map[string]any {
	all := []map[string]any{}
	for id, text := range g.Tokens {
		kind := g.kind(id)
		if !g.usable(id) || kind != ggufControl && kind != ggufUserDefined && kind != ggufUnknown || len(text) > maxAdded {
			continue
		}
		all = append(all, map[string]any{"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
			"normalized": false, "special": kind != ggufUserDefined})
	}
	return all
}

// processor puts the tokens that begin and end a text around it.
func (g *GGUF) processor(bos, eos bool) any {
	single, tokens := []any{}, map[string]any{}
	put := func(id int, add bool) {
		if name := g.token(id); name != "" && add {
			single = append(single, map[string]any{"SpecialToken": map[string]any{"id": name, "type_id": 0}})
			tokens[name] = map[string]any{"id": name, "ids": []int{id}, "tokens": []string{name}}
		}
	}
	put(g.BOS, bos)
	single = append(single, map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}})
	end := g.EOS
	if g.Model == "bert" && g.Separator >= 0 {
		end = g.Separator
	}
	put(end, eos)
	if len(tokens) == 0 {
		return nil
	}
	pair := append(slices.Clone(single), map[string]any{"Sequence": map[string]any{"id": "B", "type_id": 0}})
	return map[string]any{"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}
}

// scoredMerges are the pairs of pieces that make another, in the order of their
// scores.
func (g *GGUF) scoredMerges() [][2]string {
	normal := make(map[string]int, len(g.Tokens))
	for id, text := range g.Tokens {
		if g.kind(id) == ggufNormal && g.usable(id) && id < len(g.Scores) {
			normal[text] = id
		}
	}
	all := scoredMerges(normal, func(id int) float32 { return g.Scores[id] })
	merges := make([][2]string, len(all))
	for i, m := range all {
		text := g.Tokens[m.id]
		merges[i] = [2]string{text[:m.cut], text[m.cut:]}
	}
	return merges
}
