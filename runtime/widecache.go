package runtime

import (
	"context"

	"nibble/kernels"
)

// BeyondF16Note tells of keys or values that F16 does not hold.
const BeyondF16Note = "keys or values are beyond what F16 holds: run and chat keep them in float32, which takes twice the memory"

// BeyondF16 reports whether F16 does not hold some of the keys and values that the
// session had. Its cache is in float32 then: the text was computed anew, as if that
// had been so from its start, and the session stays as it is.
func (s *Session) BeyondF16() bool { return s.cache.Beyond.Load() }

// widen replaces the caches by float32 ones with room for n positions and computes
// again what is in them. When ctx ends the session is as it was.
func (s *Session) widen(ctx context.Context, n int) error {
	kv, memory, tokens, tap := s.cache.KV, s.memory, s.tokens, s.tap
	s.cache.KV, s.memory, s.tokens = s.m.graph.NewKVs(kernels.F32), nil, nil
	s.SetTap(nil) // it saw these tokens
	s.reserve(n)
	s.rewind(0)
	out := make([]float32, min(len(tokens), chunkTokens)*s.m.Config.Hidden)
	var err error
	for at := 0; at < len(tokens) && err == nil; at += chunkTokens {
		chunk := tokens[at:min(at+chunkTokens, len(tokens))]
		err = s.chunk(ctx, chunk, out[:len(chunk)*s.m.Config.Hidden])
	}
	s.SetTap(tap)
	if err != nil {
		s.memory.Free()
		s.cache.KV, s.memory, s.tokens = kv, memory, tokens
		if s.rewind(0); len(s.cache.States) == 0 {
			s.valid = len(tokens)
		}
		s.cache.Beyond.Store(false)
		return err
	}
	if memory != nil {
		memory.Free()
	}
	return nil
}
