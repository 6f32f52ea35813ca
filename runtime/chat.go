package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"nibble/model/chat"
	"nibble/model/tokenizer"
)

// ErrNoTemplate reports a model without a chat template, where one is needed.
var ErrNoTemplate = errors.New("the model has no chat template")

// ErrNoTokenizer reports a model that reads no text.
var ErrNoTokenizer = errors.New("the model has no tokenizer")

// Chat is a conversation. Each turn reuses the part of the cache that it shares
// with the one before.
type Chat struct {
	m        *Model
	s        *Session
	template *chat.Template
	stop     []string // ends answers, beside what the options say
	note     string   // to be told with the first answer
	system   string
	history  []chat.Message
}

// NewChat starts a conversation; system may be empty. A model without a chat template
// is talked with in its usual form, which the first turn tells.
func NewChat(m *Model, system string) (*Chat, error) {
	c := &Chat{m: m, template: m.Template, system: system}
	if m.Tok == nil {
		return nil, ErrNoTokenizer
	}
	if m.Template == nil {
		var form chat.Form
		c.template, form = m.UsualTemplate()
		c.stop, c.note = []string{form.Stop}, form.Note()
	}
	c.s = m.NewSession(0)
	return c, nil
}

// UsualTemplate is a chat template for a model without one, which must have a
// tokenizer: see [chat.Usual].
func (m *Model) UsualTemplate() (*chat.Template, chat.Form) {
	bos := ""
	if id, ok := m.Tok.BOS(); ok && m.Tok.AddBOS() {
		bos = m.Tok.Piece(id)
	}
	return chat.Usual(func(token string) bool { _, ok := m.Tok.ID(token); return ok }, bos)
}

// Reset forgets the conversation.
func (c *Chat) Reset() { c.history = nil }

// Restore makes the conversation one that was, with other instructions or without some
// of its turns. What it shares with the one before is not computed again.
func (c *Chat) Restore(system string, history []chat.Message) {
	c.system, c.history = system, slices.Clone(history)
}

// Context returns the tokens in use and the most there can be.
func (c *Chat) Context() (used, limit int) { return c.s.Len(), c.s.Limit() }

// Turn is the outcome of Send.
type Turn struct {
	GenResult
	Dropped int // oldest messages left out because the context is full
}

// Send adds a user's message and generates the answer. A cancelled answer stays
// in the conversation as far as it came.
func (c *Chat) Send(ctx context.Context, text string, o GenOptions, on func(string)) (Turn, error) {
	history := append(c.history[:len(c.history):len(c.history)], chat.Message{Role: "user", Content: text})
	ids, dropped, err := c.prompt(ctx, history, o)
	if err != nil {
		return Turn{}, err
	}
	shared := 0
	for shared < len(ids)-1 && shared < c.s.Len() && ids[shared] == c.s.Tokens()[shared] {
		shared++
	}
	c.s.Truncate(shared)
	o.Stop = slices.Concat(o.Stop, c.stop)
	res, err := c.m.Generate(ctx, c.s, ids[shared:], o, on)
	if err != nil {
		return Turn{}, err
	}
	if c.note != "" {
		res.Notes, c.note = append(res.Notes, c.note), ""
	}
	c.history = append(history[dropped:], chat.Message{Role: "assistant", Content: res.Text})
	return Turn{res, dropped}, nil
}

// minAnswer is the room that is kept for an answer, in tokens.
const minAnswer = 64

// prompt renders the conversation, leaving out the oldest turns until an answer
// has room.
func (c *Chat) prompt(ctx context.Context, history []chat.Message, o GenOptions) (ids []int32, dropped int, err error) {
	room := minAnswer
	if o.MaxTokens > 0 {
		room = min(room, o.MaxTokens)
	}
	for dropped = 0; dropped < len(history); dropped += 2 {
		var messages []chat.Message
		if c.system != "" {
			messages = append(messages, chat.Message{Role: "system", Content: c.system})
		}
		if ids, err = encodeChat(ctx, c.m.Tok, c.template, append(messages, history[dropped:]...)); err != nil {
			return nil, 0, err
		}
		if len(ids)+room <= c.s.Limit() {
			return ids, dropped, nil
		}
	}
	return nil, 0, fmt.Errorf("%w: the message takes %d of %d tokens; shorten it", ErrContextFull, len(ids), c.s.Limit())
}

// EncodeChat renders messages with the model's template and encodes the result.
// The template writes the special tokens, so none are added.
func EncodeChat(ctx context.Context, m *Model, messages []chat.Message) ([]int32, error) {
	if m.Template == nil || m.Tok == nil {
		return nil, ErrNoTemplate
	}
	return encodeChat(ctx, m.Tok, m.Template, messages)
}

func encodeChat(ctx context.Context, tok *tokenizer.Tokenizer, template *chat.Template, messages []chat.Message) ([]int32, error) {
	text, err := template.Render(ctx, messages, true)
	if err != nil {
		return nil, err
	}
	return tok.Encode(text, tokenizer.EncodeOptions{ParseSpecial: true}), nil
}
