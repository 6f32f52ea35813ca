package tokenizer

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// unigram cuts a word into the pieces whose probabilities have the largest product
// (Kudo, "Subword Regularization: Improving Neural Network Translation Models with
// Multiple Subword Candidates", 2018), found by Viterbi's algorithm.
type unigram struct {
	pieces       trie
	scores       []float64 // by id
	unknown      int32     // -1: unknown characters are dropped
	unknownScore float64
	fuseUnknown  bool        // unknown characters that follow each other are one token
	bytes        *bytePieces // nil without byte fallback
	single       bool        // sums are rounded as SentencePiece's, which has 32 bits for them
}

const (
	// unknownPenalty is how much less likely an unknown character is than the least
	// likely piece.
	unknownPenalty = 10

	// maxPiece bounds the pieces of Unigram, in bytes, and so the work at every
	// character of a text.
	maxPiece = 1024
)

// newUnigram takes the pieces by id. Of a piece that is there twice, the last counts.
func newUnigram(f modelFile, pieces []scoredPiece) (*unigram, vocabulary, error) {
	u := &unigram{scores: make([]float64, len(pieces)), unknown: -1, fuseUnknown: true}
	if len(pieces) > maxID {
		return nil, nil, fmt.Errorf("%w: %d pieces", ErrCorrupt, len(pieces))
	}
	vocab, least := make(vocabulary, len(pieces)), math.Inf(1)
	for id, p := range pieces {
		if len(p.text) > maxPiece {
			return nil, nil, fmt.Errorf("%w: piece %d has %d bytes (at most %d)", ErrUnsupported, id, len(p.text), maxPiece)
		}
		u.scores[id], vocab[p.text] = p.score, int32(id)
		least = min(least, p.score)
	}
	u.unknownScore = least - unknownPenalty
	if f.UnknownID != nil {
		u.unknown = *f.UnknownID
		if u.unknown < 0 || int(u.unknown) >= len(pieces) {
			return nil, nil, fmt.Errorf("%w: the unknown token is %d of %d pieces", ErrCorrupt, u.unknown, len(pieces))
		}
	}
	if f.ByteFallback {
		bytes := vocab.bytes()
		u.bytes = &bytes
	}
	findable := make(map[string]int32, len(vocab))
	for text, id := range vocab {
		if text != "" {
			findable[text] = id
		}
	}
	u.pieces = newTrie(findable)
	return u, vocab, nil
}

func (u *unigram) unknownID() int32 { return u.unknown }

// bestEnd is the best way to cut a text up to a place: its score, the last piece and
// where that begins.
type bestEnd struct {
	score float64
	id    int32 // -1: none, an unknown character
	start int32 // -1: no way is known
}

// encode walks through the characters; from each, the pieces that begin there may
// improve the ways to cut the text up to where they end.
func (u *unigram) encode(word string) []int32 {
	ends := make([]bestEnd, len(word)+1)
	for i := range ends {
		ends[i].start = -1
	}
	for start := 0; start < len(word); {
		_, size := utf8.DecodeRuneInString(word[start:])
		if u.single && ends[start].score < restart {
			restartAt(ends[start:])
		}
		here := ends[start].score
		known := false // the character is a piece
		at := int32(trieRoot)
		for i := start; i < len(word); i++ {
			next, ok := u.pieces.step(at, word[i])
			if !ok {
				break
			}
			at = next
			if id := u.pieces.nodes[at].value; id >= 0 {
				u.improve(&ends[i+1], here+u.scores[id], id, start)
				known = known || i+1 == start+size
			}
		}
		if !known {
			u.improve(&ends[start+size], here+u.unknownScore, -1, start)
		}
		start += size
	}
	return u.collect(word, ends)
}

// restart is the sum at which SentencePiece begins again with 0, lest 32 bits become
// too few.
const restart = -100_000

// restartAt takes the first score from all that are known.
func restartAt(ends []bestEnd) {
	sum := ends[0].score
	for i := range ends[:min(len(ends), maxPiece+1)] {
		if ends[i].start >= 0 {
			ends[i].score = float64(float32(ends[i].score - sum))
		}
	}
}

func (u *unigram) improve(end *bestEnd, score float64, id int32, start int) {
	if u.single {
		score = float64(float32(score))
	}
	if end.start >= 0 && score <= end.score {
		return
	}
	*end = bestEnd{score, id, int32(start)}
}

// collect follows the best way back and returns its tokens in order.
func (u *unigram) collect(word string, ends []bestEnd) []int32 {
	var cuts []int32 // from the last to the first
	for end := int32(len(word)); end > 0; end = ends[end].start {
		cuts = append(cuts, end)
	}
	out := make([]int32, 0, len(cuts))
	for i := len(cuts) - 1; i >= 0; i-- {
		id := ends[cuts[i]].id
		if id >= 0 {
			out = append(out, id)
			continue
		}
		begin := ends[cuts[i]].start
		for u.fuseUnknown && i > 0 && ends[cuts[i-1]].id < 0 {
			i--
		}
		out = append(out, u.unknownTokens(word[begin:cuts[i]])...)
	}
	return out
}

// unknownTokens stand for characters that no piece has.
func (u *unigram) unknownTokens(text string) []int32 {
	if u.bytes != nil {
		if ids := u.bytes.spell(text); ids != nil {
			return ids
		}
	}
	if u.unknown < 0 {
		return nil
	}
	return []int32{u.unknown}
}
