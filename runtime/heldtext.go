package runtime

import "strings"

// heldText is generated text that may turn out to be a stop string. Special
// tokens are in it as they are spelled, so that stop strings can name them, and
// are left out of what is taken.
type heldText struct {
	text    string
	special []int // by byte: which special token it is part of, counted from 1; 0 is none
	count   int   // special tokens so far
}

func (h *heldText) len() int { return len(h.text) }

func (h *heldText) add(text string) { h.append(text, 0) }

func (h *heldText) addSpecial(token string) {
	h.count++
	h.append(token, h.count)
}

func (h *heldText) append(text string, special int) {
	h.text += text
	for range len(text) {
		h.special = append(h.special, special)
	}
}

// first returns where the first of the texts begins, or -1.
func (h *heldText) first(stops []string) int {
	for at := range len(h.text) {
		for _, stop := range stops {
			if stop != "" && strings.HasPrefix(h.text[at:], stop) && !h.within(at) && !h.within(at+len(stop)) {
				return at
			}
		}
	}
	return -1
}

// within reports whether a place lies inside a special token, which a stop string
// names whole or not at all.
func (h *heldText) within(at int) bool {
	return at > 0 && at < len(h.text) && h.special[at] != 0 && h.special[at] == h.special[at-1]
}

// begun returns how many bytes at the end may be the beginning of one of the
// texts.
func (h *heldText) begun(stops []string) int {
	keep := 0
	for _, stop := range stops {
		for n := min(len(stop)-1, len(h.text)); n > keep; n-- {
			if strings.HasSuffix(h.text, stop[:n]) {
				keep = n
			}
		}
	}
	return keep
}

// take removes the first n bytes and returns those that are no special tokens.
func (h *heldText) take(n int) string {
	var out strings.Builder
	for i := range n {
		if h.special[i] == 0 {
			out.WriteByte(h.text[i])
		}
	}
	h.text, h.special = h.text[n:], h.special[n:]
	return out.String()
}
