package tokenizer

// merge is what a pair becomes: the rank of the rule, which orders merges and which
// rules may share, above the token's id.
type merge uint64

// noMerge is that of a pair that no rule merges.
const noMerge = ^merge(0)

func newMerge(rank, id int32) merge { return merge(uint32(rank))<<32 | merge(uint32(id)) }

func (m merge) rank() uint32 { return uint32(m >> 32) }
func (m merge) id() int32    { return int32(uint32(m)) }

func (b *bpe) find(left, right int32) merge {
	if m, ok := b.merges[pairKey(left, right)]; ok {
		return m
	}
	return noMerge
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
	var merges [shortWord]merge // of the pair that begins at each symbol
	n := len(symbols)
	for i := range n - 1 {
		merges[i] = b.find(symbols[i], symbols[i+1])
	}
	for n > 1 {
		at := 0
		for i, m := range merges[:n-1] {
			if m.rank() < merges[at].rank() {
				at = i
			}
		}
		if merges[at] == noMerge {
			break
		}
		symbols[at] = merges[at].id()
		copy(symbols[at+1:], symbols[at+2:n])
		copy(merges[at+1:], merges[at+2:n])
		n--
		if at > 0 {
			merges[at-1] = b.find(symbols[at-1], symbols[at])
		}
		if at < n-1 {
			merges[at] = b.find(symbols[at], symbols[at+1])
		}
	}
	return symbols[:n]
}

// mergeLong keeps the possible merges in a queue, so that a page without a space
// takes n log n steps.
func (b *bpe) mergeLong(symbols []int32) []int32 {
	m := merger{b: b, symbols: symbols, merges: make([]merge, len(symbols)), next: make([]int32, len(symbols)), prev: make([]int32, len(symbols))}
	last := len(symbols) - 1
	for i := range symbols {
		m.next[i], m.prev[i], m.merges[i] = int32(i+1), int32(i-1), noMerge
		if i == last {
			m.next[i] = -1
		} else if found := b.find(symbols[i], symbols[i+1]); found != noMerge {
			m.merges[i] = found
			m.queue = append(m.queue, queueKey(found, int32(i)))
		}
	}
	m.queue.order()
	for len(m.queue) > 0 {
		key := m.queue.pop()
		if at := int32(uint32(key)); m.merges[at] != noMerge && m.merges[at].rank() == uint32(key>>32) {
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
	merges     []merge // of the pair that begins at each symbol
	next, prev []int32 // -1 at the ends
	queue      queue   // an entry whose rank is no longer its symbol's is stale
}

// apply merges the pair that begins at a symbol.
func (m *merger) apply(at int32) {
	gone := m.next[at]
	m.symbols[at] = m.merges[at].id()
	m.merges[gone] = noMerge
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
	m.merges[at] = noMerge
	if next := m.next[at]; next >= 0 {
		m.merges[at] = m.b.find(m.symbols[at], m.symbols[next])
	}
	if m.merges[at] != noMerge {
		m.queue.push(queueKey(m.merges[at], at))
	}
}

// queueKey orders merges by rank, then by position.
func queueKey(m merge, at int32) uint64 { return uint64(m.rank())<<32 | uint64(at) }

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
