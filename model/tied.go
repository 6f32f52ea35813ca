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
	embed, head := c.Config.Embed.Path, c.Config.HeadPath
	switch {
	case c.Config.HeadMissing:
		c.Notes = append(c.Notes, fmt.Sprintf("%s is not stored: the embedding is the output head, though tie_word_embeddings is not true", head))
	case !c.Config.Tied || !c.holds(head):
	case !c.holds(embed):
		if t, ok := c.tensors[head+".weight"]; ok { // one matrix under its other name
			c.tensors[embed+".weight"] = t
			delete(c.tensors, head+".weight")
		}
	case !c.headIsEmbedding(embed, head):
		c.Config.Untie()
		c.Config.modules = modulesOf(c.Config.Model)
		c.Notes = append(c.Notes, fmt.Sprintf("tie_word_embeddings is true, and %s is stored and differs from the embedding: the stored one is used, as transformers 5 does; earlier ones use the embedding", head))
	}
}

// holds reports whether a matrix is there in some form.
func (c *Checkpoint) holds(module string) bool {
	return c.stored(module+".weight") || c.layoutOf(Module{Name: module}) != nil
}

// headIsEmbedding compares the two as they are stored.
func (c *Checkpoint) headIsEmbedding(embed, head string) bool {
	for _, suffix := range layoutSuffixes {
		e, h := c.tensors[embed+suffix], c.tensors[head+suffix]
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
