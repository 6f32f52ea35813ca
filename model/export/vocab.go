package export

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"nibble/model"
	"nibble/model/gguf"
	"nibble/model/tokenizer"
)

// vocabulary returns the keys of the tokenizer and of the chat template, and
// what there is to know about them.
func vocabulary(ck *model.Checkpoint) (kvs []gguf.KV, notes []string, err error) {
	add := func(key string, value any) { kvs = append(kvs, gguf.KV{Key: "tokenizer." + key, Value: value}) }
	if ck.Tokenizer == nil {
		if !errors.Is(ck.TokenizerErr, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%w: %w", gguf.ErrLayout, ck.TokenizerErr)
		}
		add("ggml.model", "no_vocab")
		return kvs, []string{"the model has no tokenizer.json: the file serves programs that feed token ids, such as benchmarks"}, nil
	}
	v := ck.Tokenizer.Vocabulary()
	if v.Kind != tokenizer.ByteLevelBPE && v.Kind != tokenizer.SentencePieceBPE {
		return nil, nil, fmt.Errorf("%w: nibble writes tokenizers of merged pairs, and this one is %s", gguf.ErrLayout, v.Kind)
	}
	if v.Affixes {
		return nil, nil, fmt.Errorf("%w: llama.cpp has no tokenizer whose pieces are marked by where in a word they stand, as this one's are", gguf.ErrLayout)
	}
	if v.Pieces, notes, err = fitPieces(v.Pieces, ck.Config.Vocab); err != nil {
		return nil, nil, err
	}
	tokens, types := make([]string, len(v.Pieces)), make([]int32, len(v.Pieces))
	for i, p := range v.Pieces {
		tokens[i], types[i] = p.Text, tokenizer.GGUFKinds[p.Kind]
	}
	if i := slices.IndexFunc(v.Pieces, func(p tokenizer.Piece) bool { return p.Greedy }); i >= 0 {
		notes = append(notes, fmt.Sprintf("added tokens such as %q want white space around them treated specially, which GGUF does not say", v.Pieces[i].Text))
	}
	add("ggml.tokens", tokens)
	add("ggml.token_type", types)
	var model []gguf.KV
	var more []string
	if v.ByteLevel {
		model, more, err = byteLevel(ck.Tokenizer, v)
	} else {
		model, more, err = sentencePiece(v)
	}
	if err != nil {
		return nil, nil, err
	}
	kvs, notes = append(model, kvs...), append(notes, more...)
	special, err := specialTokens(ck, v)
	if err != nil {
		return nil, nil, err
	}
	kvs = append(kvs, special...)
	if ck.TemplateSource != "" {
		add("chat_template", ck.TemplateSource)
	}
	return kvs, notes, nil
}

// fitPieces gives the vocabulary as many pieces as the embedding has rows. GGUF
// identifies pieces by their text, so that the missing ones need one.
func fitPieces(pieces []tokenizer.Piece, rows int) ([]tokenizer.Piece, []string, error) {
	var notes []string
	if extra := len(pieces) - rows; extra > 0 {
		for _, p := range pieces[rows:] {
			if p.Kind != tokenizer.Control && p.Kind != tokenizer.Added && p.Kind != tokenizer.Unused {
				return nil, nil, fmt.Errorf("%w: the tokenizer's piece %q has no row among the embedding's %d", gguf.ErrLayout, p.Text, rows)
			}
		}
		notes = append(notes, fmt.Sprintf("%d added tokens have no row among the embedding's %d and are left out", extra, rows))
		pieces = pieces[:rows]
	}
	pieces = slices.Clone(pieces)
	for len(pieces) < rows {
		pieces = append(pieces, tokenizer.Piece{Kind: tokenizer.Unused})
	}
	ids := make(map[string]int, rows)
	for i, p := range pieces {
		if p.Kind == tokenizer.Unused {
			p.Text = fmt.Sprintf("[PAD%d]", i)
			pieces[i] = p
		}
		if other, twice := ids[p.Text]; twice {
			return nil, nil, fmt.Errorf("%w: tokens %d and %d are both %q, and llama.cpp wants every text once", gguf.ErrLayout, other, i, p.Text)
		}
		ids[p.Text] = i
	}
	return pieces, notes, nil
}

// byteLevel returns the keys of GGUF's model "gpt2": merges and the name of the
// way words are cut.
func byteLevel(tok *tokenizer.Tokenizer, v tokenizer.Vocabulary) (kvs []gguf.KV, notes []string, err error) {
	if slices.Equal(v.Normalizers, []string{"NFC"}) {
		notes = []string{"the tokenizer composes Unicode characters (NFC), which llama.cpp leaves to who feeds it text"}
	} else if len(v.Normalizers) > 0 {
		return nil, nil, fmt.Errorf("%w: llama.cpp's byte-level tokenizer does not normalize texts as this one does: %q", gguf.ErrLayout, v.Normalizers)
	}
	names, ignoreMerges := tokenizer.PreTokenizerNames(v.Splitters)
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("%w: llama.cpp has no name that nibble knows for the tokenizer's way to cut words: %q", gguf.ErrLayout, v.Splitters)
	}
	i := slices.IndexFunc(ignoreMerges, func(ignore bool) bool { return ignore == v.IgnoreMerges || tok.MergesMakeEveryPiece() })
	if i < 0 {
		return nil, nil, fmt.Errorf("%w: llama.cpp's pre-tokenizer %q and this tokenizer disagree on whether a word that is a token is merged, and it makes a difference",
			gguf.ErrLayout, names[0])
	}
	merges := make([]string, len(v.Merges))
	for i, m := range v.Merges {
		merges[i] = m[0] + " " + m[1]
	}
	return []gguf.KV{{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: names[i]},
		{Key: "tokenizer.ggml.merges", Value: merges}}, notes, nil
}

// sentencePiece returns the keys of GGUF's model "llama": a score for each piece
// and whether a text begins with a space.
func sentencePiece(v tokenizer.Vocabulary) (kvs []gguf.KV, notes []string, err error) {
	const replace, prepend = `Replace text " " "▁"`, `Prepend "▁"`
	steps := append(slices.Clone(v.Normalizers), v.Splitters...)
	prefix := true
	switch {
	case slices.Equal(steps, []string{prepend, replace}), slices.Equal(steps, []string{`Metaspace "▁" always`}):
	case slices.Equal(steps, []string{`Metaspace "▁" first`}):
		notes = []string{"llama.cpp puts a space before text that follows a special token too, this tokenizer only at the start"}
	case slices.Equal(steps, []string{replace}), slices.Equal(steps, []string{`Metaspace "▁" never`}):
		prefix = false
	default:
		return nil, nil, fmt.Errorf("%w: llama.cpp's SentencePiece tokenizer does not treat spaces as this one does: %q", gguf.ErrLayout, steps)
	}
	switch {
	case !v.ByteFallback:
		return nil, nil, fmt.Errorf("%w: llama.cpp's SentencePiece tokenizer needs a piece for each of the 256 bytes", gguf.ErrLayout)
	case v.IgnoreMerges:
		return nil, nil, fmt.Errorf("%w: llama.cpp's SentencePiece tokenizer cannot take words that are tokens unmerged", gguf.ErrLayout)
	}
	if err := mergesAreScores(v); err != nil {
		return nil, nil, err
	}
	return []gguf.KV{{Key: "tokenizer.ggml.model", Value: "llama"}, {Key: "tokenizer.ggml.pre", Value: "default"},
		{Key: "tokenizer.ggml.scores", Value: scores(v)}, {Key: "tokenizer.ggml.add_space_prefix", Value: prefix}}, notes, nil
}

// mergesAreScores checks that a score for each piece says the same as the list
// of merges: every pair of pieces that spells a piece may merge, and the merges
// that make one piece follow each other. Merges written by hand or learnt
// without SentencePiece may not be like that.
func mergesAreScores(v tokenizer.Vocabulary) error {
	listed, made, last := make(map[[2]string]bool, len(v.Merges)), make(map[string]bool), ""
	for _, m := range v.Merges {
		listed[m] = true
		piece := m[0] + m[1]
		if piece != last && made[piece] {
			return fmt.Errorf("%w: the merges of %q do not follow each other, which no SentencePiece score can say", gguf.ErrLayout, piece)
		}
		made[piece], last = true, piece
	}
	normal := make(map[string]bool, len(v.Pieces))
	for _, p := range v.Pieces {
		normal[p.Text] = p.Kind == tokenizer.Normal
	}
	for _, p := range v.Pieces {
		if p.Kind != tokenizer.Normal {
			continue
		}
		for i := range p.Text {
			if l, r := p.Text[:i], p.Text[i:]; normal[l] && normal[r] && !listed[[2]string{l, r}] {
				return fmt.Errorf("%w: %q and %q do not merge to %q in this tokenizer, but do in llama.cpp's SentencePiece", gguf.ErrLayout, l, r, p.Text)
			}
		}
	}
	return nil
}

// scores returns SentencePiece's scores: the pieces that merges make count down
// from 0 in the order of their merges, then the others by id. Pieces that merging
// never makes have 0.
func scores(v tokenizer.Vocabulary) []float32 {
	ids := make(map[string]int, len(v.Pieces))
	for i, p := range v.Pieces {
		ids[p.Text] = i
	}
	out, set := make([]float32, len(v.Pieces)), make([]bool, len(v.Pieces))
	next := float32(0)
	give := func(id int) {
		if v.Pieces[id].Kind == tokenizer.Normal && !set[id] {
			out[id], set[id] = next, true
			next--
		}
	}
	for _, m := range v.Merges {
		if id, ok := ids[m[0]+m[1]]; ok {
			give(id)
		}
	}
	for id := range v.Pieces {
		give(id)
	}
	return out
}

// specialTokens returns the ids with a meaning and what is put around a text.
func specialTokens(ck *model.Checkpoint, v tokenizer.Vocabulary) ([]gguf.KV, error) {
	var kvs []gguf.KV
	id := func(key string, id int32) {
		if id >= 0 && int(id) < len(v.Pieces) {
			kvs = append(kvs, gguf.KV{Key: "tokenizer.ggml." + key, Value: uint32(id)})
		}
	}
	bos, eos := v.BOS, v.EOS
	if bos < 0 && len(v.Prefix) == 1 {
		bos = v.Prefix[0]
	}
	if bos < 0 {
		bos = int32(ck.Config.BOS)
	}
	ends := ck.Generation.EOS
	if eos < 0 && len(v.Suffix) == 1 {
		eos = v.Suffix[0]
	}
	if eos < 0 && len(ends) > 0 {
		eos = int32(ends[0])
	}
	if len(v.Prefix) > 0 && !slices.Equal(v.Prefix, []int32{bos}) || len(v.Suffix) > 0 && !slices.Equal(v.Suffix, []int32{eos}) {
		return nil, fmt.Errorf("%w: the tokenizer puts tokens %v before and %v after a text, not just its beginning and end", gguf.ErrLayout, v.Prefix, v.Suffix)
	}
	id("bos_token_id", bos)
	id("eos_token_id", eos)
	for _, end := range ends {
		if int32(end) != eos { // one more that ends a turn
			id("eot_token_id", int32(end))
			break
		}
	}
	id("unknown_token_id", v.Unknown)
	id("padding_token_id", v.Pad)
	return append(kvs, gguf.KV{Key: "tokenizer.ggml.add_bos_token", Value: len(v.Prefix) > 0},
		gguf.KV{Key: "tokenizer.ggml.add_eos_token", Value: len(v.Suffix) > 0}), nil
}
