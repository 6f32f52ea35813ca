package workbench

import (
	rt "nibble/runtime"

	"context"
	"fmt"
	"nibble/ui/term"
)

func (b *backend) send(text string, useFloat, fresh bool) {
	b.start("answering", func(ctx context.Context) error {
		if err := b.ready(); err != nil {
			return err
		}
		m := b.base
		if b.int4 != nil && !useFloat {
			m = b.int4
		}
		if b.talk == nil || b.talkOf != m || fresh {
			talk, err := rt.NewChat(m, "")
			if err != nil {
				return err
			}
			b.talk, b.talkOf = talk, m
		}
		b.mail.fact(func(s *state) {
			s.chat.busy, s.chat.fresh = true, false
			s.chat.turns = append(s.chat.turns, chatTurn{user: text, model: s.activeModel(), pending: true})
		})
		o, _ := b.generation.For(b.ck.Generation) // whose notes the model's page shows
		turn, err := b.talk.Send(ctx, text, o, func(part string) {
			b.mail.fact(func(s *state) {
				last := &s.chat.turns[len(s.chat.turns)-1]
				last.answer += term.Clean(part)
			})
		})
		if err != nil {
			return err
		}
		used, limit := b.talk.Context()
		b.mail.fact(func(s *state) {
			last := &s.chat.turns[len(s.chat.turns)-1]
			last.stats = fmt.Sprintf("%d tokens, %s tokens/s, first after %s, ended by: %s", turn.Tokens, term.Digits(turn.DecodeTPS), term.Duration(turn.FirstToken), turn.StopReason)
			for _, n := range turn.Notes {
				last.stats += "; " + term.CleanLine(n)
			}
			last.pending = false
			s.chat.used, s.chat.limit = used, limit
		})
		return nil
	})
}
