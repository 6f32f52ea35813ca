package workbench

import (
	"context"
	"fmt"
	"slices"

	"nibble/model/chat"
	rt "nibble/runtime"
	"nibble/ui/job"
	"nibble/ui/term"
)

// chatRequest asks for an answer.
type chatRequest struct {
	useFloat bool   // of the float model
	system   string // instructions that open the conversation
	before   []chat.Message
	text     string
	settings job.Generation
}

// send has a message answered, as the last turn of the conversation.
func (b *backend) send(r chatRequest) {
	b.start("answering", func(ctx context.Context) error {
		if err := b.ready(); err != nil {
			return err
		}
		m := b.base
		if b.int4 != nil && !r.useFloat {
			m = b.int4
		}
		talk, err := b.conversation(m)
		if err != nil {
			return err
		}
		talk.Restore(r.system, r.before)
		o, _ := r.settings.For(b.ck.Generation) // whose notes the model's page shows
		b.mail.fact(func(s *state) {
			s.chat.busy = true
			s.chat.turns = append(s.chat.turns, chatTurn{user: r.text, model: s.activeModel(), pending: true})
		})
		turn, err := talk.Send(ctx, r.text, o, func(part string) {
			b.mail.fact(func(s *state) {
				last := &s.chat.turns[len(s.chat.turns)-1]
				last.answer += term.Clean(part)
			})
		})
		if err != nil {
			return err
		}
		used, limit := talk.Context()
		b.mail.fact(func(s *state) {
			last := &s.chat.turns[len(s.chat.turns)-1]
			last.stats, last.pending = turnText(turn, o), false
			s.chat.used, s.chat.limit = used, limit
		})
		return nil
	})
}

// turnText is what a turn took, and what is not as one might think.
func turnText(turn rt.Turn, o rt.GenOptions) string {
	text := fmt.Sprintf("%d tokens, %s tokens/s, first after %s, ended by %s", turn.Tokens, term.Digits(turn.DecodeTPS), term.Duration(turn.FirstToken), turn.StopReason)
	if o.Temp > 0 {
		text += fmt.Sprintf(", seed %d", o.Seed)
	}
	if turn.Dropped > 0 {
		text += fmt.Sprintf("; the context is full: the oldest %d messages were left out", turn.Dropped)
	}
	for _, n := range turn.Notes {
		text += "; " + term.CleanLine(n)
	}
	return text
}

// conversation is that with a model, whose cache stays from turn to turn. Only models in
// use have one.
func (b *backend) conversation(m *rt.Model) (*rt.Chat, error) {
	b.talks = slices.DeleteFunc(b.talks, func(t conversation) bool { return t.with != b.base && t.with != b.int4 })
	for _, t := range b.talks {
		if t.with == m {
			return t.Chat, nil
		}
	}
	talk, err := rt.NewChat(m, "")
	if err != nil {
		return nil, err
	}
	b.talks = append(b.talks, conversation{talk, m})
	return talk, nil
}

// conversation is a chat with a model.
type conversation struct {
	*rt.Chat
	with *rt.Model
}
