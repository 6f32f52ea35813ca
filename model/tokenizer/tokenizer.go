// Package tokenizer turns text into token ids and back, as described by a Hugging
// Face tokenizer.json (https://huggingface.co/docs/tokenizers): byte-level BPE
// and SentencePiece-style BPE with byte fallback.
//
// A component the package does not know is refused by name, never guessed: a
// tokenizer that is nearly right ruins a model silently.
package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// ErrUnsupported reports a tokenizer component the package does not have.
var ErrUnsupported = errors.New("tokenizer not supported")

// ErrCorrupt reports a tokenizer.json that contradicts itself.
var ErrCorrupt = errors.New("tokenizer is corrupt")

// maxID bounds token ids, which index tables.
const maxID = 1 << 22

// Tokenizer is immutable and safe for concurrent use.
type Tokenizer struct {
	model     algorithm
	vocab     vocabulary
	pieces    []string // by id, as spelled in the vocabulary
	special   map[int32]bool
	normalize []normalizer
	split     []splitter
	added     addedTokens
	defined   map[string]int32 // pieces of text that SentencePiece's users defined
	prefix    []int32          // ids put before a text by AddSpecial
	suffix    []int32
	decode    decoder
	bos, eos  int32 // -1: none
	bosText   string
	eosText   string
	padText   string
	kind      string

	normalizers, splitters []string // the steps, described
}

// EncodeOptions says what Encode does beyond splitting plain text.
type EncodeOptions struct {
	AddSpecial   bool // begin with the tokens that the tokenizer puts before texts
	ParseSpecial bool // recognise special tokens spelled out in the text
}

// component is any normalizer, pre-tokenizer, post-processor or decoder.
type component struct {
	Type             string      `json:"type"`
	Normalizers      []component `json:"normalizers"`
	Pretokenizers    []component `json:"pretokenizers"`
	Processors       []component `json:"processors"`
	Decoders         []component `json:"decoders"`
	Pattern          pattern     `json:"pattern"`
	Content          string      `json:"content"`
	Prepend          string      `json:"prepend"`
	Behavior         string      `json:"behavior"`
	Invert           bool        `json:"invert"`
	AddPrefixSpace   *bool       `json:"add_prefix_space"`
	UseRegex         *bool       `json:"use_regex"`
	IndividualDigits bool        `json:"individual_digits"`
	Replacement      string      `json:"replacement"`
	PrependScheme    string      `json:"prepend_scheme"`
	Split            *bool       `json:"split"`
	Delimiter        string      `json:"delimiter"`
	Suffix           string      `json:"suffix"`
	Start            int         `json:"start"`
	Stop             int         `json:"stop"`
	StripLeft        bool        `json:"strip_left"`
	StripRight       bool        `json:"strip_right"`
	CleanText        bool        `json:"clean_text"`
	Ideographs       bool        `json:"handle_chinese_chars"`
	StripAccents     *bool       `json:"strip_accents"`
	Lowercase        bool        `json:"lowercase"`
	Charsmap         string      `json:"precompiled_charsmap"`
	Prefix           string      `json:"prefix"` // of WordPiece
	Cleanup          *bool       `json:"cleanup"`
	Length           int         `json:"length"`
	template
}

// has reports whether a component, or one in a sequence, is of a kind.
func (c *component) has(is func(*component) bool) bool {
	if c == nil {
		return false
	}
	for _, list := range [][]component{c.Normalizers, c.Pretokenizers} {
		for i := range list {
			if list[i].has(is) {
				return true
			}
		}
	}
	return is(c)
}

type pattern struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

type tokenizerFile struct {
	Added         []addedToken `json:"added_tokens"`
	Normalizer    *component   `json:"normalizer"`
	PreTokenizer  *component   `json:"pre_tokenizer"`
	PostProcessor *component   `json:"post_processor"`
	Decoder       *component   `json:"decoder"`
	Model         modelFile    `json:"model"`
}

// configFile is what tokenizer_config.json adds.
type configFile struct {
	AddBOS *bool     `json:"add_bos_token"`
	AddEOS *bool     `json:"add_eos_token"`
	BOS    tokenName `json:"bos_token"`
	EOS    tokenName `json:"eos_token"`
	Pad    tokenName `json:"pad_token"`

	// What only counts where there is no tokenizer.json.
	Legacy         *bool `json:"legacy"`
	AddPrefixSpace *bool `json:"add_prefix_space"`
}

// tokenName is a token given as a string or as an object with its content.
type tokenName string

func (t *tokenName) UnmarshalJSON(data []byte) error {
	var s *string
	if json.Unmarshal(data, &s) == nil {
		if s != nil {
			*t = tokenName(*s)
		}
		return nil
	}
	var o struct {
		Content string `json:"content"`
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return err
	}
	*t = tokenName(o.Content)
	return nil
}

// The kinds of tokenizers, for people.
const (
	SentencePieceBPE = "SentencePiece BPE"
	ByteLevelBPE     = "byte-level BPE"
	Unigram          = "Unigram"
	WordPiece        = "WordPiece"
	WordLevel        = "whole words"
)

func kindOf(a algorithm, byteLevel bool) string {
	switch a.(type) {
	case *unigram:
		return Unigram
	case *wordPiece:
		return WordPiece
	case wordLevel:
		return WordLevel
	}
	if byteLevel {
		return ByteLevelBPE
	}
	return SentencePieceBPE
}

// Load builds a tokenizer from tokenizer.json and, if not nil,
// tokenizer_config.json.
func Load(tokenizerJSON, tokenizerConfigJSON []byte) (*Tokenizer, error) {
	return load(tokenizerJSON, tokenizerConfigJSON, 0)
}

// load is Load for a file without some of the pieces that it had.
func load(tokenizerJSON, tokenizerConfigJSON []byte, had int) (*Tokenizer, error) {
	var f tokenizerFile
	if err := json.Unmarshal(tokenizerJSON, &f); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	cfg, err := parseConfig(tokenizerConfigJSON)
	if err != nil {
		return nil, err
	}
	t := newTokenizer(cfg)
	t.normalizers, t.splitters = describe(f.Normalizer), describe(f.PreTokenizer)
	err = checkGrowth(f.Normalizer, f.PreTokenizer)
	if err == nil {
		err = checkGrowth(f.Decoder)
	}
	if err != nil {
		return nil, err
	}
	if t.model, t.vocab, err = newAlgorithm(f.Model); err != nil {
		return nil, err
	}
	if t.added, err = newAddedTokens(f.Added, t.vocab, int32(max(len(t.vocab), had))); err != nil {
		return nil, err
	}
	if err := t.indexPieces(); err != nil {
		return nil, err
	}
	if t.normalize, err = newNormalizers(f.Normalizer); err != nil {
		return nil, err
	}
	if t.split, err = newSplitters(f.PreTokenizer); err != nil {
		return nil, err
	}
	if err := checkFirst(f.Normalizer, f.PreTokenizer); err != nil {
		return nil, err
	}
	if err := t.added.plant(t.normalizeText); err != nil {
		return nil, err
	}
	if t.decode, err = newDecoder(f.Decoder); err != nil {
		return nil, err
	}
	t.splitAtSpaces()
	t.findEnds()
	if err := t.postProcess(f.PostProcessor); err != nil {
		return nil, err
	}
	t.applyConfig(cfg)
	t.kind = kindOf(t.model, t.decode.byteLevel)
	return t, nil
}

func newTokenizer(cfg configFile) *Tokenizer {
	return &Tokenizer{special: make(map[int32]bool), bos: -1, eos: -1, bosText: string(cfg.BOS), eosText: string(cfg.EOS), padText: string(cfg.Pad)}
}

// findEnds looks up the tokens that begin and end texts.
func (t *Tokenizer) findEnds() {
	if id, ok := t.ID(t.bosText); ok {
		t.bos = id
	}
	if id, ok := t.ID(t.eosText); ok {
		t.eos = id
	}
}

// indexPieces fills the table from id to piece.
func (t *Tokenizer) indexPieces() error {
	size := int32(0)
	check := func(id int32, piece string) error {
		if id < 0 || id >= maxID {
			return fmt.Errorf("%w: token %q has id %d", ErrCorrupt, piece, id)
		}
		size = max(size, id+1)
		return nil
	}
	for piece, id := range t.vocab {
		if err := check(id, piece); err != nil {
			return err
		}
	}
	for _, a := range t.added.all {
		if err := check(a.ID, a.Content); err != nil {
			return err
		}
	}
	t.pieces = make([]string, size)
	for piece, id := range t.vocab {
		t.pieces[id] = piece
	}
	for _, a := range t.added.all {
		t.pieces[a.ID] = a.Content
		t.special[a.ID] = a.Special
	}
	return nil
}

// applyConfig lets an explicit add_bos_token or add_eos_token overrule the
// template, as transformers' Llama tokenizers do.
func (t *Tokenizer) applyConfig(cfg configFile) {
	if cfg.AddBOS != nil && t.bos >= 0 {
		has := len(t.prefix) > 0 && t.prefix[0] == t.bos
		if *cfg.AddBOS && !has {
			t.prefix = append([]int32{t.bos}, t.prefix...)
		} else if !*cfg.AddBOS && has {
			t.prefix = t.prefix[1:]
		}
	}
	if cfg.AddEOS != nil && t.eos >= 0 {
		n := len(t.suffix)
		has := n > 0 && t.suffix[n-1] == t.eos
		if *cfg.AddEOS && !has {
			t.suffix = append(t.suffix, t.eos)
		} else if !*cfg.AddEOS && has {
			t.suffix = t.suffix[:n-1]
		}
	}
}

// Encode returns the token ids of a text. What the tokenizer puts at the end of
// whole texts is never added: every text here is one to be continued.
func (t *Tokenizer) Encode(text string, o EncodeOptions) []int32 {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	e := encoder{t: t, words: make(map[string][]int32)}
	t.added.walk(text, o.ParseSpecial, t.normalizeText, e.plain, func(id int32) { e.out, e.later = append(e.out, id), true })
	if o.AddSpecial {
		return t.begin(e.out)
	}
	return e.out
}

// begin puts the prefix before ids, but for what of it they begin with already: a
// text may spell the token that begins texts out.
func (t *Tokenizer) begin(ids []int32) []int32 {
	spelled := 0
	for spelled < min(len(t.prefix), len(ids)) && ids[spelled] == t.prefix[spelled] {
		spelled++
	}
	return append(slices.Clone(t.prefix), ids[spelled:]...)
}

func (t *Tokenizer) normalizeText(s string) string {
	for _, n := range t.normalize {
		s = n(s)
	}
	return s
}

// encoder is the state of one Encode call.
type encoder struct {
	t     *Tokenizer
	out   []int32
	later bool // something came before: this is not the start of the text
	words map[string][]int32
}

// maxCachedWord bounds what is remembered of a text's words.
const maxCachedWord = 64

// plain encodes normalized text between added tokens.
func (e *encoder) plain(text string) {
	if text == "" {
		return
	}
	words, first := []string{text}, !e.later
	for _, split := range e.t.split {
		words, first = split(words, first)
	}
	e.later = true
	for _, w := range words {
		ids, ok := e.words[w]
		if !ok {
			ids = e.t.model.encode(w)
			if len(w) <= maxCachedWord {
				e.words[w] = ids
			}
		}
		e.out = append(e.out, ids...)
	}
}

// Kind names the algorithm for people.
func (t *Tokenizer) Kind() string { return t.kind }

// VocabSize returns one more than the largest id.
func (t *Tokenizer) VocabSize() int { return len(t.pieces) }

// Merges returns the number of pairs that are merged.
func (t *Tokenizer) Merges() int {
	if b, ok := t.model.(*bpe); ok {
		return len(b.rules)
	}
	return 0
}

// BOS returns the token that begins a text, if the tokenizer has one.
func (t *Tokenizer) BOS() (int32, bool) { return t.bos, t.bos >= 0 }

// EOS returns the token that ends a text, if the tokenizer has one.
func (t *Tokenizer) EOS() (int32, bool) { return t.eos, t.eos >= 0 }

// AddBOS reports whether AddSpecial begins a text with the BOS token.
func (t *Tokenizer) AddBOS() bool { return t.bos >= 0 && len(t.prefix) > 0 && t.prefix[0] == t.bos }

// Prefix returns the ids AddSpecial puts before a text.
func (t *Tokenizer) Prefix() []int32 { return append([]int32(nil), t.prefix...) }

// Special reports whether the id is a control token that is not text.
func (t *Tokenizer) Special(id int32) bool { return t.special[id] }

// ID returns the id of a piece as spelled in the vocabulary.
func (t *Tokenizer) ID(piece string) (int32, bool) {
	if piece == "" {
		return 0, false
	}
	for _, a := range t.added.all {
		if a.Content == piece {
			return a.ID, true
		}
	}
	id, ok := t.vocab[piece]
	return id, ok
}

// Equal reports whether two tokenizers have the same vocabulary, so that their
// models can be compared token by token.
func (t *Tokenizer) Equal(o *Tokenizer) bool {
	return slices.Equal(t.pieces, o.pieces) && slices.Equal(t.prefix, o.prefix)
}
