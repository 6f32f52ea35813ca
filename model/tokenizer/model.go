package tokenizer

import (
	"encoding/json"
	"fmt"
	"math"
)

// algorithm turns a word into tokens. It is immutable.
type algorithm interface {
	encode(word string) []int32
	unknownID() int32 // of what the vocabulary lacks; -1: none
}

// modelFile is the model of tokenizer.json, of any type.
type modelFile struct {
	Type         string            `json:"type"`
	Vocab        json.RawMessage   `json:"vocab"` // ids by piece; of Unigram, pieces with scores
	Merges       []json.RawMessage `json:"merges"`
	Unknown      *string           `json:"unk_token"`
	UnknownID    *int32            `json:"unk_id"` // of Unigram
	FuseUnknown  bool              `json:"fuse_unk"`
	ByteFallback bool              `json:"byte_fallback"`
	IgnoreMerges bool              `json:"ignore_merges"`
	Prefix       *string           `json:"continuing_subword_prefix"`
	Suffix       *string           `json:"end_of_word_suffix"`
	Dropout      *float64          `json:"dropout"`
	MaxChars     int               `json:"max_input_chars_per_word"`
}

// vocabulary holds ids by piece.
type vocabulary map[string]int32

// bytePieces are the ids of "<0x00>" and so on; -1 where missing.
type bytePieces [256]int32

// newAlgorithm reads a model and its vocabulary.
func newAlgorithm(f modelFile) (algorithm, vocabulary, error) {
	if f.Type == "" { // older files do not say
		f.Type = "WordLevel"
		if f.Merges != nil {
			f.Type = "BPE"
		}
	}
	if f.Type == "Unigram" {
		pieces, err := unigramPieces(f.Vocab)
		if err != nil {
			return nil, nil, err
		}
		return newUnigram(f, pieces)
	}
	var vocab vocabulary
	if err := json.Unmarshal(f.Vocab, &vocab); err != nil {
		return nil, nil, fmt.Errorf("%w: vocab: %v", ErrCorrupt, err)
	}
	var a algorithm
	var err error
	switch f.Type {
	case "BPE":
		a, err = newBPE(f, vocab)
	case "WordPiece":
		a, err = newWordPiece(f, vocab)
	case "WordLevel":
		a = wordLevel{vocab, vocab.unknown(f.Unknown)}
	default:
		err = fmt.Errorf("%w: model type %q (BPE, Unigram, WordPiece and WordLevel are)", ErrUnsupported, f.Type)
	}
	return a, vocab, err
}

// unknown is the id of the unknown token, -1 if there is none.
func (v vocabulary) unknown(token *string) int32 {
	if token != nil {
		if id, ok := v[*token]; ok {
			return id
		}
	}
	return -1
}

func (v vocabulary) bytes() (b bytePieces) {
	for i := range b {
		b[i] = -1
		if id, ok := v[fmt.Sprintf("<0x%02X>", i)]; ok {
			b[i] = id
		}
	}
	return b
}

// spell returns the tokens of the bytes of a text, nil if one has none.
func (b *bytePieces) spell(text string) []int32 {
	ids := make([]int32, len(text))
	for i := range ids {
		if ids[i] = b[text[i]]; ids[i] < 0 {
			return nil
		}
	}
	return ids
}

// whole reports whether every byte has a piece.
func (b *bytePieces) whole() bool {
	for _, id := range b {
		if id < 0 {
			return false
		}
	}
	return true
}

// wordLevel takes whole words.
type wordLevel struct {
	vocab   vocabulary
	unknown int32
}

func (w wordLevel) encode(word string) []int32 {
	id, ok := w.vocab[word]
	if !ok {
		id = w.unknown
	}
	if id < 0 {
		return nil
	}
	return []int32{id}
}

func (w wordLevel) unknownID() int32 { return w.unknown }

// scoredPiece is a piece of Unigram with the logarithm of its probability.
type scoredPiece struct {
	text  string
	score float64
}

func (p *scoredPiece) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&p.text, &p.score})
}

func unigramPieces(raw json.RawMessage) ([]scoredPiece, error) {
	var pieces []scoredPiece
	if err := json.Unmarshal(raw, &pieces); err != nil {
		return nil, fmt.Errorf("%w: vocab: %v", ErrCorrupt, err)
	}
	for i, p := range pieces {
		if math.IsNaN(p.score) || math.IsInf(p.score, 0) {
			return nil, fmt.Errorf("%w: piece %d has the score %g", ErrCorrupt, i, p.score)
		}
	}
	return pieces, nil
}
