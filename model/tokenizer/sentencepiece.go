package tokenizer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// AddedToken is a token that is matched in a text before the text is cut into words.
type AddedToken = addedToken

// LoadSentencePiece builds a tokenizer from a tokenizer.model of SentencePiece and, if
// not nil, tokenizer_config.json; more are the tokens named beside it. Texts are
// normalized and cut as SentencePiece does; what follows a special token begins with
// a space like a text of its own, unless the configuration says "legacy": false.
func LoadSentencePiece(data, tokenizerConfigJSON []byte, more []AddedToken) (*Tokenizer, error) {
	m, err := parseSentencePiece(data)
	if err != nil {
		return nil, err
	}
	switch {
	case m.kind != spUnigram && m.kind != spBPE:
		return nil, fmt.Errorf("%w: SentencePiece model type %d (1, Unigram, and 2, BPE, are)", ErrUnsupported, m.kind)
	case m.suffix:
		return nil, fmt.Errorf("%w: SentencePiece with spaces that go with the word before", ErrUnsupported)
	case !m.visibleSpaces:
		return nil, fmt.Errorf("%w: SentencePiece without visible spaces", ErrUnsupported)
	}
	cfg, err := parseConfig(tokenizerConfigJSON)
	if err != nil {
		return nil, err
	}
	t := newTokenizer(cfg)
	if err := m.build(t, cfg); err != nil {
		return nil, err
	}
	if err := t.addTokens(append(m.controls(), more...)); err != nil {
		return nil, err
	}
	t.kind = kindOf(t.model, false)
	name := func(text *string, id int64) {
		if *text == "" && id >= 0 && id < int64(len(m.pieces)) && m.pieces[id].kind == spControl {
			*text = m.pieces[id].text
		}
	}
	name(&t.bosText, m.bos)
	name(&t.eosText, m.eos)
	name(&t.padText, m.pad)
	t.findEnds()
	if t.bos >= 0 && m.kind == spBPE { // as Llama's, the models that have such files
		t.prefix = []int32{t.bos}
	}
	t.applyConfig(cfg)
	return t, nil
}

// build makes the steps of a tokenizer.
func (m *sentencePieceModel) build(t *Tokenizer, cfg configFile) error {
	n := &sentencePieceNormalizer{addPrefix: m.addPrefix, trim: m.trimSpaces, space: visibleSpace}
	if cfg.AddPrefixSpace != nil && !*cfg.AddPrefixSpace {
		n.addPrefix = false
	}
	firstOnly := n.addPrefix && cfg.Legacy != nil && !*cfg.Legacy
	if len(m.charsmap) > 0 {
		var err error
		if n.charsmap, err = newCharsmap(m.charsmap); err != nil {
			return err
		}
	}
	t.vocab, t.defined = make(vocabulary, len(m.pieces)), make(map[string]int32)
	for id, p := range m.pieces {
		if _, twice := t.vocab[p.text]; twice {
			return fmt.Errorf("%w: piece %q is there twice", ErrCorrupt, p.text)
		}
		t.vocab[p.text] = int32(id)
		if p.kind == spUserDefined {
			t.defined[p.text] = int32(id)
		}
	}
	if len(t.defined) > 0 {
		symbols := newTrie(t.defined)
		n.symbols = &symbols
	}
	t.normalizers = m.describe(n, firstOnly)
	if firstOnly {
		n.addPrefix = false
		t.split = append(t.split, func(words []string, first bool) ([]string, bool) {
			if first && len(words) > 0 {
				words[0] = visibleSpace + words[0]
			}
			return words, first
		})
	}
	t.normalize = []normalizer{n.normalize}
	t.decode = m.decoder(n.addPrefix || firstOnly)
	if m.kind == spUnigram {
		return m.unigram(t)
	}
	return m.bpe(t, n.symbols)
}

// describe says what normalization there is, in the words of tokenizer.json where
// these have the same.
func (m *sentencePieceModel) describe(n *sentencePieceNormalizer, firstOnly bool) []string {
	switch {
	case n.charsmap != nil || n.trim || n.symbols != nil:
		return []string{fmt.Sprintf("SentencePiece table:%t trim:%t symbols:%t prefix:%t", n.charsmap != nil, n.trim, n.symbols != nil, n.addPrefix)}
	case firstOnly:
		return []string{`Metaspace "▁" first`}
	case n.addPrefix:
		return []string{`Prepend "▁"`, `Replace text " " "▁"`}
	}
	return []string{`Replace text " " "▁"`}
}

func (m *sentencePieceModel) decoder(prefixed bool) decoder {
	unknown := make(map[string]bool)
	for _, p := range m.pieces {
		if p.kind == spUnknown {
			unknown[p.text] = true
		}
	}
	prefixed = prefixed || m.trimSpaces
	d := decoder{byteFallback: true, eachByte: true, joined: true, untilText: m.trimSpaces}
	d.pieces = []decodeStep{func(piece string, first bool) string {
		if unknown[piece] {
			return m.unknownText
		}
		if first && prefixed {
			piece = strings.TrimPrefix(piece, visibleSpace)
		}
		return strings.ReplaceAll(piece, visibleSpace, " ")
	}}
	return d
}

// controls are the pieces that no text has.
func (m *sentencePieceModel) controls() []AddedToken {
	var all []AddedToken
	for id, p := range m.pieces {
		if p.kind == spControl && len(p.text) <= maxAdded {
			all = append(all, AddedToken{ID: int32(id), Content: p.text, Special: true})
		}
	}
	return all
}

// unknown is the piece for what is unknown, -1 if there is none.
func (m *sentencePieceModel) unknown() int32 {
	return int32(slices.IndexFunc(m.pieces, func(p sentencePiece) bool { return p.kind == spUnknown }))
}

// unigram scores the pieces as SentencePiece does: symbols that users defined win
// over all others.
func (m *sentencePieceModel) unigram(t *Tokenizer) error {
	u := &unigram{scores: make([]float64, len(m.pieces)), unknown: m.unknown(), fuseUnknown: true, single: true}
	least, most := float32(math.MaxFloat32), math.Float32frombits(0x00800000) // the smallest normal number
	for _, p := range m.pieces {
		if p.kind == spNormal {
			least, most = min(least, p.score), max(most, p.score)
		}
	}
	u.unknownScore = float64(least - unknownPenalty)
	findable := make(map[string]int32, len(m.pieces))
	for id, p := range m.pieces {
		u.scores[id] = float64(p.score)
		switch p.kind {
		case spUserDefined:
			u.scores[id] = float64(float32(len(p.text))*most) - 0.1
		case spNormal:
		default:
			continue
		}
		if len(p.text) > maxPiece {
			return fmt.Errorf("%w: piece %d has %d bytes (at most %d)", ErrUnsupported, id, len(p.text), maxPiece)
		}
		findable[p.text] = int32(id)
	}
	if m.byteFallback {
		bytes := t.vocab.bytes()
		u.bytes = &bytes
	}
	u.pieces = newTrie(findable)
	t.model = u
	return nil
}

// bpe orders the merges by the scores of what they make; those of equal scores apply
// from left to right.
func (m *sentencePieceModel) bpe(t *Tokenizer, symbols *trie) error {
	pieces := make(map[string]int, len(m.pieces))
	b := &bpe{vocab: make(vocabulary, len(m.pieces)), unknown: m.unknown(), fuseUnknown: true, byteFallback: m.byteFallback, bytes: t.vocab.bytes(), merges: make(map[uint64]merge), whole: t.defined}
	for id, p := range m.pieces {
		if p.kind == spNormal {
			pieces[p.text], b.vocab[p.text] = id, int32(id)
		}
	}
	rank := int32(-1)
	last := float32(math.Inf(1))
	for _, s := range scoredMerges(pieces, func(id int) float32 { return m.pieces[id].score }) {
		if s.score != last {
			rank, last = rank+1, s.score
		}
		text := m.pieces[s.id].text
		r := rule{int32(pieces[text[:s.cut]]), int32(pieces[text[s.cut:]]), int32(s.id)}
		b.rules = append(b.rules, r)
		b.merges[pairKey(r.left, r.right)] = newMerge(rank, r.id)
	}
	t.model = b
	if symbols != nil {
		cut, err := behave(func(s string, spans []span) []span {
			for at := 0; at < len(s); {
				_, size := symbols.longest(s[at:])
				if size > 0 {
					spans = append(spans, span{at, at + size})
				}
				at += max(size, 1)
			}
			return spans
		}, "Isolated", false)
		if err != nil {
			return err
		}
		t.split = append(t.split, cut)
	}
	t.splitAtSpaces()
	return nil
}

// scoredMerge says that the two sides of a cut make a piece.
type scoredMerge struct {
	cut, id int
	score   float32
}

// scoredMerges are the pairs of pieces that make another, the highest score first; as
// transformers orders those of equal scores.
func scoredMerges(pieces map[string]int, score func(id int) float32) []scoredMerge {
	var all []scoredMerge
	for text, id := range pieces {
		for cut := range text {
			_, left := pieces[text[:cut]]
			_, right := pieces[text[cut:]]
			if left && right {
				all = append(all, scoredMerge{cut, id, score(id)})
			}
		}
	}
	slices.SortFunc(all, func(a, b scoredMerge) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id), cmp.Compare(b.cut, a.cut))
	})
	return all
}

// addTokens makes tokens findable that have the ids that they say.
func (t *Tokenizer) addTokens(tokens []AddedToken) error {
	ids := maps.Clone(t.vocab)
	for _, a := range tokens {
		if _, known := ids[a.Content]; !known {
			ids[a.Content] = a.ID
		}
	}
	var err error
	if t.added, err = newAddedTokens(tokens, ids, int32(len(ids))); err != nil {
		return err
	}
	if err := t.indexPieces(); err != nil {
		return err
	}
	return t.added.plant(t.normalizeText)
}

// parseConfig reads tokenizer_config.json; there may be none.
func parseConfig(data []byte) (cfg configFile, err error) {
	if len(data) > 0 {
		if err := json.Unmarshal(data, &cfg); err != nil {
			return cfg, fmt.Errorf("%w: tokenizer_config.json: %v", ErrCorrupt, err)
		}
	}
	return cfg, nil
}

// splitAtSpaces cuts words of visible spaces apart where no merge reaches across, so
// that each is merged once and then remembered.
func (t *Tokenizer) splitAtSpaces() {
	b, ok := t.model.(*bpe)
	if !ok || b.ignoreMerges || b.prefix+b.suffix != "" {
		return
	}
	if _, ok := b.vocab[visibleSpace]; !ok { // it would be unknown together with what stands before
		return
	}
	text := make(map[int32]string, len(b.vocab))
	for piece, id := range b.vocab {
		text[id] = piece
	}
	for _, r := range b.rules {
		if strings.HasPrefix(text[r.right], visibleSpace) && !strings.HasSuffix(text[r.left], visibleSpace) {
			return
		}
	}
	t.split = append(t.split, cutAtSpaces)
}

// cutAtSpaces cuts before every run of visible spaces.
func cutAtSpaces(words []string, first bool) ([]string, bool) {
	var out []string
	for _, w := range words {
		begin := 0
		for at := 1; at < len(w); {
			i := strings.Index(w[at:], visibleSpace)
			if i < 0 {
				break
			}
			at += i
			if !strings.HasSuffix(w[:at], visibleSpace) {
				out = append(out, w[begin:at])
				begin = at
			}
			at += len(visibleSpace)
		}
		if begin < len(w) {
			out = append(out, w[begin:])
		}
	}
	return out, first
}
