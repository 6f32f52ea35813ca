package tokenizer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

const (
	showSpaces  = `{"type":"Replace","pattern":{"String":" "},"content":"▁"}`
	hideSpaces  = `{"type":"Replace","pattern":{"String":"▁"},"content":" "}`
	byteStep    = `{"type":"ByteFallback"}`
	fuseStep    = `{"type":"Fuse"}`
	stripPrefix = `{"type":"Strip","content":" ","start":1,"stop":0}`
)

// bpe is a BPE model of tokenizer.json.
func (g *GGUF) bpe(vocab map[string]int, merges any, fallback bool) map[string]any {
	model := map[string]any{"type": "BPE", "dropout": nil, "vocab": vocab, "merges": merges, "ignore_merges": false, "unk_token": nil, "fuse_unk": fallback, "byte_fallback": fallback}
	if name := g.token(g.Unknown); name != "" && fallback {
		model["unk_token"] = name
	}
	return model
}

// rankedBPE is BPE with a list of merges.
func (g *GGUF) rankedBPE(file map[string]any, pre preTokenizer) error {
	vocab, err := g.vocab()
	if err != nil {
		return err
	}
	merges := make([][2]string, len(g.Merges))
	for i, m := range g.Merges {
		at := 0
		if m != "" {
			at = strings.IndexByte(m[1:], ' ') + 1
		}
		if at == 0 {
			return fmt.Errorf("%w: merge %d: %q is no pair", ErrCorrupt, i, m)
		}
		merges[i] = [2]string{m[:at], m[at+1:]}
	}
	model := g.bpe(vocab, merges, pre.visibleSpaces)
	model["ignore_merges"] = pre.ignoreMerges
	file["model"], file["pre_tokenizer"], file["decoder"] = model, sequence("pretokenizers", pre.steps...), json.RawMessage(byteLevelStep)
	if pre.visibleSpaces {
		file["normalizer"], file["decoder"] = json.RawMessage(showSpaces), sequence("decoders", hideSpaces, byteStep, fuseStep)
	}
	return nil
}

// scoredBPE is SentencePiece's BPE, whose merges follow from the pieces' scores.
func (g *GGUF) scoredBPE(file map[string]any) error {
	vocab, err := g.vocab()
	if err != nil {
		return err
	}
	normalizers, decoders := []string{showSpaces}, []string{hideSpaces, byteStep, fuseStep}
	if g.AddSpacePrefix == nil || *g.AddSpacePrefix {
		normalizers = append([]string{`{"type":"Prepend","prepend":"▁"}`}, normalizers...)
		decoders = append(decoders, stripPrefix)
	}
	file["normalizer"], file["decoder"], file["model"] = sequence("normalizers", normalizers...), sequence("decoders", decoders...), g.bpe(vocab, g.scoredMerges(), true)
	return nil
}

// unigram is SentencePiece's Unigram.
func (g *GGUF) unigram(file map[string]any) error {
	if _, err := g.vocab(); err != nil {
		return err
	}
	pieces := make([][2]any, len(g.Tokens))
	for id := range g.Tokens {
		text, score := g.token(id), 0.0
		if text == "" { // its id has to be there
			text = fmt.Sprintf("[PAD%d]", id)
		}
		if id < len(g.Scores) {
			score = float64(g.Scores[id])
		}
		pieces[id] = [2]any{text, score}
	}
	model := map[string]any{"type": "Unigram", "vocab": pieces, "unk_id": nil, "byte_fallback": false}
	if g.token(g.Unknown) != "" {
		model["unk_id"] = g.Unknown
	}
	var normalizers []string
	if len(g.Charsmap) > 0 {
		normalizers = append(normalizers, fmt.Sprintf(`{"type":"Precompiled","precompiled_charsmap":%q}`, base64.StdEncoding.EncodeToString(g.Charsmap)))
	}
	if g.TrimSpaces == nil || *g.TrimSpaces {
		normalizers = append(normalizers, `{"type":"Strip","strip_left":true,"strip_right":true}`, `{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}`)
	}
	scheme := "always"
	if g.AddSpacePrefix != nil && !*g.AddSpacePrefix {
		scheme = "never"
	}
	spaces := json.RawMessage(`{"type":"Metaspace","replacement":"▁","prepend_scheme":"` + scheme + `","split":true}`)
	file["normalizer"], file["pre_tokenizer"], file["decoder"], file["model"] = sequence("normalizers", normalizers...), spaces, spaces, model
	return nil
}

// wordPiece is BERT's tokenizer. Pieces that begin a word have a visible space there,
// the others no prefix.
func (g *GGUF) wordPiece(file map[string]any) error {
	plain, err := g.vocab()
	if err != nil {
		return err
	}
	vocab := make(map[string]int, len(plain))
	for text, id := range plain {
		switch rest, begins := strings.CutPrefix(text, visibleSpace); {
		case begins && rest != "":
			text = rest
		case g.kind(id) == ggufNormal && !(strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]")):
			text = "##" + text
		}
		vocab[text] = id
	}
	unknown := g.token(g.Unknown)
	if unknown == "" {
		unknown = "[UNK]"
	}
	lowercase := g.Lowercase == nil || *g.Lowercase
	strip := lowercase
	if g.StripAccents != nil {
		strip = *g.StripAccents
	}
	file["normalizer"] = map[string]any{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": strip, "lowercase": lowercase}
	file["pre_tokenizer"] = map[string]any{"type": "BertPreTokenizer"}
	file["decoder"] = map[string]any{"type": "WordPiece", "prefix": "##", "cleanup": true}
	file["model"] = map[string]any{"type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##", "max_input_chars_per_word": defaultMaxChars, "vocab": vocab}
	return nil
}
