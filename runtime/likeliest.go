package runtime

// candidate is a token that may be drawn.
type candidate struct {
	logit float32
	id    int32
}

// before orders candidates: the likelier first, and equals by their ids.
func (c candidate) before(d candidate) bool {
	if c.logit != d.logit {
		return c.logit > d.logit
	}
	return c.id < d.id
}

// likeliest takes candidates in their order. It is a heap: taking the first k of
// n costs n + k log n, where sorting would cost n log n.
type likeliest struct {
	all []candidate // the heap, and behind it what was taken, the last first
	n   int         // of the heap
}

// newLikeliest orders candidates, none of whose logits is NaN, in their place.
func newLikeliest(all []candidate) *likeliest {
	h := &likeliest{all, len(all)}
	for i := h.n/2 - 1; i >= 0; i-- {
		h.down(i)
	}
	return h
}

// take returns the likeliest candidate of those left.
func (h *likeliest) take() candidate {
	top := h.all[0]
	h.n--
	h.all[0], h.all[h.n] = h.all[h.n], top
	h.down(0)
	return top
}

// taken returns the candidates taken so far, the last first.
func (h *likeliest) taken() []candidate { return h.all[h.n:] }

// down moves the candidate at i below those that come before it.
func (h *likeliest) down(i int) {
	heap := h.all[:h.n]
	if i >= len(heap) {
		return
	}
	c := heap[i]
	for {
		child := 2*i + 1
		if child >= len(heap) {
			break
		}
		if child+1 < len(heap) && heap[child+1].before(heap[child]) {
			child++
		}
		if c.before(heap[child]) {
			break
		}
		heap[i] = heap[child]
		i = child
	}
	heap[i] = c
}
