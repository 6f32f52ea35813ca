package runtime

import (
	"context"

	"nibble/runtime/graph"
)

// A state cannot be taken back by a token, as keys and values can. A session keeps
// a few earlier ones; going back means taking the last one before that place and
// running the tokens since again, when the next ones come.

// mostSaved is how many earlier states a session keeps.
const mostSaved = 4

// snapshot is what the states were after some tokens.
type snapshot struct {
	tokens int
	states []graph.State
}

// save keeps the states as they are.
func (s *Session) save() {
	if len(s.cache.States) == 0 {
		return
	}
	now := snapshot{tokens: s.valid}
	for _, t := range s.cache.States {
		now.states = append(now.states, t.Clone())
	}
	if s.saved = append(s.saved, now); len(s.saved) > mostSaved {
		s.saved = s.saved[1:]
	}
}

// rewind goes back to the last states after at most n tokens.
func (s *Session) rewind(n int) {
	for len(s.saved) > 0 && s.saved[len(s.saved)-1].tokens > n {
		s.saved = s.saved[:len(s.saved)-1]
	}
	s.valid = n
	if len(s.cache.States) == 0 {
		return
	}
	if len(s.saved) == 0 {
		s.valid = 0
		s.restart()
		return
	}
	last := s.saved[len(s.saved)-1]
	s.valid = last.tokens
	for i, t := range last.states {
		s.cache.States[i] = t.Clone()
	}
}

// restart makes the states those of an empty text.
func (s *Session) restart() {
	s.cache.States = s.m.graph.NewStates()
}

// replay runs the tokens again that the states have not seen.
func (s *Session) replay(ctx context.Context) error {
	if s.valid == len(s.tokens) {
		return nil
	}
	missing := s.tokens[s.valid:]
	s.tokens = s.tokens[:s.valid:s.valid]
	for len(missing) > 0 {
		n := min(len(missing), chunkTokens)
		s.hidden = resize(s.hidden, n*s.m.Config.Hidden)
		if err := s.chunk(ctx, missing[:n], s.hidden); err != nil {
			s.tokens = append(s.tokens, missing...)
			s.rewind(0)
			return err
		}
		missing = missing[n:]
	}
	return nil
}
