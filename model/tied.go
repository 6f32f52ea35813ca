package model

import (
	"bytes"
	"fmt"
	"slices"
)

// resolveTied decides whether the output head is the embedding, as transformers 5
// does: a head that is stored and another matrix is used, whatever
// tie_word_embeddings says, and without one the embedding is the head.
func (c *Checkpoint) resolveTied() {
	embed, head := c.stored(EmbedModule), c.stored(HeadModule)
	switch tied := c.Config.TieEmbeddings; {
	case !head && !tied:
		if embed { // else what is missing is told by its name
			c.Config.TieEmbeddings = true
			c.Notes = append(c.Notes, fmt.Sprintf("%s is not stored: the embedding is the output head, though tie_word_embeddings is not true", HeadModule))
		}
	case head && tied && !embed:
		if t, ok := c.tensors[HeadModule+".weight"]; ok { // one matrix under its other name
			c.tensors[EmbedModule+".weight"] = t
			delete(c.tensors, HeadModule+".weight")
		}
	case head && tied && !c.headIsEmbedding():
		c.Config.TieEmbeddings = false
		c.Notes = append(c.Notes, fmt.Sprintf("tie_word_embeddings is true, and %s is stored and differs from the embedding: the stored one is used, as transformers 5 does; earlier ones use the embedding", HeadModule))
	}
}

// stored reports whether a matrix is there in some form.
func (c *Checkpoint) stored(module string) bool {
	_, float := c.tensors[module+".weight"]
	_, packed := c.tensors[module+".weight_packed"]
	return float || packed
}

// headIsEmbedding compares the two as they are stored.
func (c *Checkpoint) headIsEmbedding() bool {
	for _, suffix := range slices.Concat([]string{".weight"}, quantSuffixes) {
		e, h := c.tensors[EmbedModule+suffix], c.tensors[HeadModule+suffix]
		if e.dtype != h.dtype || !slices.Equal(e.shape, h.shape) {
			return false
		}
		for at := 0; at < len(e.data); at += hashChunk {
			end := min(at+hashChunk, len(e.data))
			same := bytes.Equal(e.data[at:end], h.data[at:end])
			c.release(e.data[at:end])
			c.release(h.data[at:end])
			if !same {
				return false
			}
		}
	}
	return true
}
