package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// bpe is byte-pair encoding over a fixed table of ranked merges (Sennrich et
// al., "Neural Machine Translation of Rare Words with Subword Units", 2016).
type bpe struct {
	vocab        vocabulary
	rules        []rule           // in the order in which they apply
	merges       map[uint64]merge // what they say, by pairKey
	unknown      int32            // -1: unknown characters are dropped
	fuseUnknown  bool
	ignoreMerges bool // a word that is a token is that token
	byteFallback bool
	prefix       string // of pieces that do not begin a word
	suffix       string // of pieces that end one
	bytes        bytePieces
	whole        map[string]int32 // words that are tokens as they are
}

// rule merges two tokens that are neighbours into one.
type rule struct{ left, right, id int32 }

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

func newBPE(f modelFile, vocab vocabulary) (*bpe, error) {
	b := &bpe{vocab: vocab, unknown: vocab.unknown(f.Unknown), fuseUnknown: f.FuseUnknown, ignoreMerges: f.IgnoreMerges, byteFallback: f.ByteFallback, bytes: vocab.bytes()}
	if f.Dropout != nil && *f.Dropout != 0 {
		return b, fmt.Errorf("%w: BPE with a dropout of %g, which encodes a text differently each time", ErrUnsupported, *f.Dropout)
	}
	if f.Prefix != nil {
		b.prefix = *f.Prefix
	}
	if f.Suffix != nil {
		b.suffix = *f.Suffix
	}
	return b, b.addMerges(f.Merges)
}

func (b *bpe) unknownID() int32 { return b.unknown }

// addMerges reads the rules. Of a pair that is there twice, the last counts.
func (b *bpe) addMerges(merges []json.RawMessage) error {
	all := make([]rule, 0, len(merges))
	b.merges = make(map[uint64]merge, len(merges))
	for i, raw := range merges {
		left, right, err := parseMerge(raw)
		if err != nil {
			return fmt.Errorf("%w: merge %d: %v", ErrCorrupt, i, err)
		}
		if left == "#version:" {
			continue
		}
		l, ok1 := b.vocab[left]
		r, ok2 := b.vocab[right]
		id, ok3 := b.vocab[left+right[min(len(b.prefix), len(right)):]]
		if !ok1 || !ok2 || !ok3 {
			return fmt.Errorf("%w: merge %d of %q and %q is not in the vocabulary", ErrCorrupt, i, left, right)
		}
		b.merges[pairKey(l, r)] = newMerge(int32(len(all)), id)
		all = append(all, rule{l, r, id})
	}
	for i, r := range all {
		if b.merges[pairKey(r.left, r.right)].rank() == uint32(i) {
			b.rules = append(b.rules, r)
		}
	}
	return nil
}

// parseMerge reads a merge as "left right" or as ["left", "right"].
func parseMerge(raw json.RawMessage) (left, right string, err error) {
	var both []string
	if json.Unmarshal(raw, &both) == nil && len(both) == 2 {
		return both[0], both[1], nil
	}
	var joined string
	if err := json.Unmarshal(raw, &joined); err != nil {
		return "", "", err
	}
	left, right, ok := strings.Cut(joined, " ")
	if !ok || strings.Contains(right, " ") {
		return "", "", fmt.Errorf("%q is no pair", joined)
	}
	return left, right, nil
}

// encode returns the tokens of one word.
func (b *bpe) encode(word string) []int32 {
	if id, ok := b.whole[word]; ok {
		return []int32{id}
	}
	if b.ignoreMerges {
		if id, ok := b.vocab[word]; ok {
			return []int32{id}
		}
	}
	return b.merge(b.symbols(word))
}

// symbols maps characters to tokens, falling back to bytes or the unknown token. As
// in the library, an unknown token comes once the next known character does: after
// the bytes that stand for characters between the two.
func (b *bpe) symbols(word string) []int32 {
	out := make([]int32, 0, len(word))
	unknown := false // one is to come
	for i := 0; i < len(word); {
		_, size := utf8.DecodeRuneInString(word[i:])
		char := word[i : i+size]
		if b.prefix != "" && i > 0 {
			char = b.prefix + char
		}
		i += size
		if b.suffix != "" && i == len(word) {
			char += b.suffix
		}
		if id, ok := b.vocab[char]; ok {
			if unknown {
				out, unknown = append(out, b.unknown), false
			}
			out = append(out, id)
			continue
		}
		if b.byteFallback {
			if bytes := b.bytes.spell(char); bytes != nil {
				out = append(out, bytes...)
				continue
			}
		}
		if b.unknown >= 0 {
			if unknown && !b.fuseUnknown {
				out = append(out, b.unknown)
			}
			unknown = true
		}
	}
	if unknown {
		out = append(out, b.unknown)
	}
	return out
}
