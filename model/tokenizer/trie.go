package tokenizer

import (
	"math/bits"
	"slices"
)

// trie finds the keys that a text begins with, as a double array: the child of a node
// by a byte stands at base XOR byte, if that place names the node as its parent (Aoe,
// "An Efficient Digital Search Algorithm by Using a Double-Array Structure", 1989).
type trie struct {
	nodes []trieNode
}

type trieNode struct {
	base  int32
	check int32 // the parent's place; -1: free
	value int32 // of the key that ends here; -1: none does
}

// trieRoot is the place of the node that every search starts from.
const trieRoot = 0

// step returns the child of a node by a byte, if there is one.
func (t *trie) step(at int32, c byte) (int32, bool) {
	next := t.nodes[at].base ^ int32(c)
	return next, t.nodes[next].check == at
}

// longest returns the value of the longest key that a text begins with, and its
// length; 0 where there is none.
func (t *trie) longest(text string) (value int32, length int) {
	at := int32(trieRoot)
	for i := range len(text) {
		next, ok := t.step(at, text[i])
		if !ok {
			break
		}
		at = next
		if v := t.nodes[at].value; v >= 0 {
			value, length = v, i+1
		}
	}
	return value, length
}

// newTrie builds the trie of keys, none of which is empty.
func newTrie(values map[string]int32) trie {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b := trieBuilder{}
	b.grow()
	b.take(trieRoot, -1)
	queue := []trieRange{{0, len(keys), 0, trieRoot}}
	var children []trieRange
	for len(queue) > 0 {
		r := queue[0]
		queue = queue[1:]
		if r.lo < r.hi && len(keys[r.lo]) == r.depth {
			b.nodes[r.node].value = values[keys[r.lo]]
			r.lo++
		}
		children, b.labels = children[:0], b.labels[:0]
		for lo := r.lo; lo < r.hi; {
			c, hi := keys[lo][r.depth], lo+1
			for hi < r.hi && keys[hi][r.depth] == c {
				hi++
			}
			children, b.labels = append(children, trieRange{lo, hi, r.depth + 1, 0}), append(b.labels, c)
			lo = hi
		}
		if len(children) == 0 {
			continue
		}
		base := b.place()
		b.nodes[r.node].base = base
		for i, c := range b.labels {
			children[i].node = base ^ int32(c)
			b.take(children[i].node, r.node)
		}
		queue = append(queue, children...)
	}
	return trie{b.nodes}
}

// trieRange is a node to come: the keys from lo to hi have the same first depth bytes.
type trieRange struct {
	lo, hi, depth int
	node          int32
}

// trieBuilder finds places, in blocks of 256 that a node's children share.
type trieBuilder struct {
	nodes  []trieNode
	labels []byte      // of the children to place
	free   [][4]uint64 // by block, its free places
}

// openBlocks is how many of the last blocks are searched for places.
const openBlocks = 8

func (b *trieBuilder) grow() {
	for range 256 {
		b.nodes = append(b.nodes, trieNode{check: -1, value: -1})
	}
	b.free = append(b.free, [4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)})
}

func (b *trieBuilder) take(at, parent int32) {
	b.nodes[at].check = parent
	b.free[at>>8][at>>6&3] &^= 1 << (at & 63)
}

// place returns a base under which all labels have a free place.
func (b *trieBuilder) place() int32 {
	for block := max(0, len(b.free)-openBlocks); block < len(b.free); block++ {
		for word, free := range b.free[block] {
			for ; free != 0; free &= free - 1 {
				at := int32(block<<8 | word<<6 | bits.TrailingZeros64(free))
				if base := at ^ int32(b.labels[0]); b.fits(base) {
					return base
				}
			}
		}
	}
	b.grow()
	return int32(len(b.nodes) - 256)
}

func (b *trieBuilder) fits(base int32) bool {
	for _, c := range b.labels {
		if b.nodes[base^int32(c)].check != -1 || base^int32(c) == trieRoot {
			return false
		}
	}
	return true
}
