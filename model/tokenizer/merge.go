package tokenizer

import "math"

// noRank is the rank of a pair that no rule merges.
const noRank = math.MaxInt32

func (b *bpe) rank(left, right int32) int32 {
	if rank, ok := b.ranks[pairKey(left, right)]; ok {
		return rank
	}
	return noRank
}

// shortWord is the most symbols for which looking through all pairs for every
// merge is faster than a queue.
const shortWord = 64

// merge applies the rules to the symbols of a word, in their place: again and
// again the one of lowest rank, leftmost first.
func (b *bpe) merge(symbols []int32) []int32 {
	if len(symbols) <= shortWord {
		return b.mergeShort(symbols)
	}
	return b.mergeLong(symbols)
}

func (b *bpe) mergeShort(symbols []int32) []int32 {
	var ranks [shortWord]int32 // of the pair that begins at each symbol
	n := len(symbols)
	for i := range n - 1 {
		ranks[i] = b.rank(symbols[i], symbols[i+1])
	}
	for n > 1 {
		at := 0
		for i, rank := range ranks[:n-1] {
			if rank < ranks[at] {
				at = i
			}
		}
		if ranks[at] == noRank {
			break
		}
		symbols[at] = b.rules[ranks[at]].id
		copy(symbols[at+1:], symbols[at+2:n])
		copy(ranks[at+1:], ranks[at+2:n])
		n--
		if at > 0 {
			ranks[at-1] = b.rank(symbols[at-1], symbols[at])
		}
		if at < n-1 {
			ranks[at] = b.rank(symbols[at], symbols[at+1])
		}
	}
	return symbols[:n]
}

// mergeLong keeps the possible merges in a queue, so that a page without a space
// takes n log n steps.
func (b *bpe) mergeLong(symbols []int32) []int32 {
	m := merger{b: b, symbols: symbols, ranks: make([]int32, len(symbols)), next: make([]int32, len(symbols)), prev: make([]int32, len(symbols))}
	last := len(symbols) - 1
	for i := range symbols {
		m.next[i], m.prev[i], m.ranks[i] = int32(i+1), int32(i-1), noRank
		if i == last {
			m.next[i] = -1
		} else if rank := b.rank(symbols[i], symbols[i+1]); rank != noRank {
			m.ranks[i] = rank
			m.queue = append(m.queue, queueKey(rank, int32(i)))
		}
	}
	m.queue.order()
	for len(m.queue) > 0 {
		key := m.queue.pop()
		if at := int32(uint32(key)); m.ranks[at] == int32(key>>32) {
			m.apply(at)
		}
	}
	out := symbols[:0] // a symbol only ever moves to the left
	for i := int32(0); i >= 0; i = m.next[i] {
		out = append(out, symbols[i])
	}
	return out
}

// merger is the state of mergeLong: the symbols as a linked list.
type merger struct {
	b          *bpe
	symbols    []int32
	ranks      []int32 // of the pair that begins at each symbol
	next, prev []int32 // -1 at the ends
	queue      queue   // an entry whose rank is no longer its symbol's is stale
}

// apply merges the pair that begins at a symbol.
func (m *merger) apply(at int32) {
	gone := m.next[at]
	m.symbols[at] = m.b.rules[m.ranks[at]].id
	m.ranks[gone] = noRank
	m.next[at] = m.next[gone]
	if m.next[at] >= 0 {
		m.prev[m.next[at]] = at
	}
	m.update(m.prev[at])
	m.update(at)
}

// update looks for the rule that merges a symbol with the next.
func (m *merger) update(at int32) {
	if at < 0 {
		return
	}
	m.ranks[at] = noRank
	if next := m.next[at]; next >= 0 {
		m.ranks[at] = m.b.rank(m.symbols[at], m.symbols[next])
	}
	if m.ranks[at] != noRank {
		m.queue.push(queueKey(m.ranks[at], at))
	}
}

// queueKey orders merges by rank, then by position.
func queueKey(rank, at int32) uint64 { return uint64(rank)<<32 | uint64(at) }

// queue is a heap with the smallest key first and four children a node.
type queue []uint64

func (q queue) order() {
	for i := len(q)/4 + 1; i >= 0; i-- {
		q.down(i)
	}
}

func (q *queue) push(key uint64) {
	h := append(*q, key)
	*q = h
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if h[parent] <= key {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = key
}

func (q *queue) pop() uint64 {
	h := *q
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	*q = h[:last]
	q.down(0)
	return top
}

// down moves the key at i to where it belongs.
func (q queue) down(i int) {
	if i >= len(q) {
		return
	}
	key := q[i]
	for {
		first := 4*i + 1
		if first >= len(q) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(q)); c++ {
			if q[c] < q[least] {
				least = c
			}
		}
		if q[least] >= key {
			break
		}
		q[i] = q[least]
		i = least
	}
	q[i] = key
}
