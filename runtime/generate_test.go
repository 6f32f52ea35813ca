package runtime

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model/chat"
	"nibble/model/tokenizer"
)

// story returns the demo and a prompt that it continues without an end for long.
func story(t *testing.T) (*Model, []int32) {
	t.Helper()
	m := load(t, "demo", kernels.Options{Threads: 2})
	return m, m.Tok.Encode("Once upon a time there was", tokenizer.EncodeOptions{AddSpecial: true})
}

// generate continues the prompt in a session of its own and checks that what was
// given out piece by piece is the text.
func generate(t *testing.T, m *Model, limit int, prompt []int32, o GenOptions) GenResult {
	t.Helper()
	var given strings.Builder
	res, err := m.Generate(context.Background(), m.NewSession(limit), prompt, o, func(s string) { given.WriteString(s) })
	if err != nil {
		t.Fatal(err)
	}
	if given.String() != res.Text {
		t.Errorf("%q was given out, the text is %q", given.String(), res.Text)
	}
	return res
}

// A generation ends for each of its reasons, with the text up to there.
func TestGenerateEnds(t *testing.T) {
	m, prompt := story(t)
	whole := generate(t, m, 0, prompt, GenOptions{MaxTokens: 40})
	if whole.StopReason != StopLength || whole.Tokens != 40 || whole.PromptTokens != len(prompt) || len(whole.Text) < 40 {
		t.Fatalf("%+v", whole)
	}
	text := whole.Text
	for name, c := range map[string]struct {
		stop []string
		want string
	}{
		"a stop string":             {[]string{text[20:25]}, text[:strings.Index(text, text[20:25])]},
		"of one character":          {[]string{text[30:31]}, text[:strings.Index(text, text[30:31])]},
		"the first to be complete":  {[]string{text[25:35], "nowhere", text[15:18]}, text[:strings.Index(text, text[15:18])]},
		"what the text begins with": {[]string{text[:3]}, ""},
	} {
		res := generate(t, m, 0, prompt, GenOptions{MaxTokens: 40, Stop: c.stop})
		if res.Text != c.want || res.StopReason != StopString {
			t.Errorf("%s: %q, ended by %s, want %q", name, res.Text, res.StopReason, c.want)
		}
	}
	for name, stop := range map[string][]string{"none": nil, "empty": {""}, "not in the text": {"nowhere", text[:10] + "~"}} {
		if res := generate(t, m, 0, prompt, GenOptions{MaxTokens: 40, Stop: stop}); res.Text != text || res.StopReason != StopLength {
			t.Errorf("stop strings, %s: %q, ended by %s, want %q", name, res.Text, res.StopReason, text)
		}
	}

	room := 5
	if res := generate(t, m, len(prompt)+room, prompt, GenOptions{}); res.StopReason != StopContext || res.Tokens != room+1 {
		t.Errorf("room for %d tokens: %d, ended by %s", room, res.Tokens, res.StopReason)
	}
	first := generate(t, m, 0, prompt, GenOptions{MaxTokens: 1})
	ends := *m
	ends.EOS = []int32{-1, firstToken(t, m, prompt)}
	if res := generate(t, &ends, 0, prompt, GenOptions{}); res.StopReason != StopEOS || res.Tokens != 0 || res.Text != "" {
		t.Errorf("at the end token: %+v", res)
	}
	if res := generate(t, &ends, 0, prompt, GenOptions{MaxTokens: 1, IgnoreEOS: true}); res.StopReason != StopLength || res.Text != first.Text {
		t.Errorf("ignoring the end token: %+v, want %q", res, first.Text)
	}
}

// firstToken is what follows the prompt greedily.
func firstToken(t *testing.T, m *Model, prompt []int32) int32 {
	t.Helper()
	hidden, err := m.NewSession(0).Forward(context.Background(), prompt)
	if err != nil {
		t.Fatal(err)
	}
	all := logits(m, hidden)
	return argmax(all[len(all)-m.Config.VocabSize:])
}

// Cancelling keeps what was generated, and is no error.
func TestGenerateCancelled(t *testing.T) {
	m, prompt := story(t)
	whole := generate(t, m, 0, prompt, GenOptions{MaxTokens: 40})
	ctx, cancel := context.WithCancel(context.Background())
	pieces := 0
	res, err := m.Generate(ctx, m.NewSession(0), prompt, GenOptions{MaxTokens: 40}, func(string) {
		if pieces++; pieces == 3 {
			cancel()
		}
	})
	if err != nil || res.StopReason != StopCancelled || res.Text == "" || res.Tokens >= 40 || !strings.HasPrefix(whole.Text, res.Text) {
		t.Errorf("%+v, %v", res, err)
	}
	if res, err = m.Generate(ctx, m.NewSession(0), prompt, GenOptions{}, nil); err != nil || res.StopReason != StopCancelled || res.Tokens != 0 {
		t.Errorf("cancelled before: %+v, %v", res, err)
	}
}

func TestGenerateRefuses(t *testing.T) {
	m, prompt := story(t)
	silent := *m
	silent.Tok = nil
	ctx := context.Background()
	if _, err := m.Generate(ctx, m.NewSession(0), nil, GenOptions{}, nil); err == nil {
		t.Error("an empty prompt was accepted")
	}
	if _, err := silent.Generate(ctx, m.NewSession(0), prompt, GenOptions{}, nil); err == nil {
		t.Error("a model without a tokenizer was accepted")
	}
	if _, err := m.Generate(ctx, m.NewSession(0), prompt, GenOptions{Temp: -1}, nil); !errors.Is(err, ErrOptions) {
		t.Errorf("a negative temperature: %v", err)
	}
	if _, err := m.Generate(ctx, m.NewSession(len(prompt)-1), prompt, GenOptions{}, nil); !errors.Is(err, ErrContextFull) {
		t.Errorf("a prompt longer than the context: %v", err)
	}
	s := m.NewSession(0)
	for _, id := range []int32{-1, int32(m.Config.VocabSize)} {
		if _, err := s.Forward(ctx, []int32{1, id}); err == nil || s.Len() != 0 {
			t.Errorf("token %d: %v, %d tokens in the cache", id, err, s.Len())
		}
	}
}

// What could begin a stop string is held back until it is known.
func TestStopStringsInPieces(t *testing.T) {
	for name, c := range map[string]struct {
		stop, pieces, given []string
		ended               bool
	}{
		"across pieces":         {[]string{"abc"}, []string{"xa", "b", "cd"}, []string{"x"}, true},
		"begun and not ended":   {[]string{"abc"}, []string{"xa", "b", "d"}, []string{"x", "abd"}, false},
		"begun twice":           {[]string{"aab"}, []string{"aa", "a", "b"}, []string{"a"}, true},
		"within a piece":        {[]string{"b"}, []string{"abc"}, []string{"a"}, true},
		"longest begun is held": {[]string{"cd", "bcx"}, []string{"abc", "d"}, []string{"a", "b"}, true},
		"none":                  {nil, []string{"a", "b"}, []string{"a", "b"}, false},
	} {
		var given []string
		g := &generation{o: GenOptions{Stop: c.stop}, on: func(s string) { given = append(given, s) }}
		ended := false
		for _, p := range c.pieces {
			ended = g.emit(p)
		}
		if ended != c.ended || !slices.Equal(given, c.given) {
			t.Errorf("%s: gave %q, ended: %v", name, given, ended)
		}
	}
}

// A conversation computes of each turn only what the cache does not hold, and
// answers as if it computed all.
func TestChatReusesItsPrefix(t *testing.T) {
	m, _ := story(t)
	ctx := context.Background()
	c, err := NewChat(m, "Tell stories.")
	if err != nil {
		t.Fatal(err)
	}
	o := GenOptions{MaxTokens: 12}
	messages := []chat.Message{{Role: "system", Content: "Tell stories."}}
	var cached []int32
	for turn, text := range []string{"A story about a dog.", "And a cat?", "The end."} {
		messages = append(messages, chat.Message{Role: "user", Content: text})
		ids, err := EncodeChat(ctx, m, messages)
		if err != nil {
			t.Fatal(err)
		}
		shared := 0
		for shared < min(len(ids), len(cached)) && ids[shared] == cached[shared] {
			shared++
		}
		if turn > 0 && shared < 10 {
			t.Fatalf("turn %d shares %d tokens with the cache", turn, shared)
		}
		got, err := c.Send(ctx, text, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := m.Generate(ctx, m.NewSession(0), ids, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Text != want.Text || got.Text == "" || got.StopReason != want.StopReason || got.Dropped != 0 {
			t.Errorf("turn %d: %+v, afresh %+v", turn, got, want)
		}
		if got.PromptTokens != len(ids)-shared {
			t.Errorf("turn %d: %d tokens were computed, of %d the cache holds %d", turn, got.PromptTokens, len(ids), shared)
		}
		if used, limit := c.Context(); used < len(ids) || limit != m.Config.MaxPositions {
			t.Errorf("turn %d: %d of %d tokens in use", turn, used, limit)
		}
		cached = slices.Clone(c.s.Tokens())
		messages = append(messages, chat.Message{Role: "assistant", Content: got.Text})
	}
	c.Reset()
	again, err := c.Send(ctx, "A story about a dog.", o, nil)
	if err != nil || len(c.history) != 2 || again.PromptTokens > 4 {
		t.Errorf("after a reset: %d messages, %d tokens computed, %v", len(c.history), again.PromptTokens, err)
	}
}

// The oldest turns are left out when the context is full, and a message that
// does not fit alone is refused.
func TestChatForgetsTheOldest(t *testing.T) {
	m, _ := story(t)
	ctx := context.Background()
	c, err := NewChat(m, "")
	if err != nil {
		t.Fatal(err)
	}
	c.s = m.NewSession(170)
	send := func(text string) (Turn, error) { return c.Send(ctx, text, GenOptions{MaxTokens: 8}, nil) }
	dropped := 0
	for i := range 8 {
		turn, err := send("Tell me about the little dog and the big red ball, please.")
		if err != nil {
			t.Fatal(err)
		}
		if turn.Dropped%2 != 0 {
			t.Fatalf("turn %d: %d messages dropped, half a turn", i, turn.Dropped)
		}
		if used, limit := c.Context(); used > limit {
			t.Fatalf("turn %d: %d of %d tokens", i, used, limit)
		}
		dropped += turn.Dropped
	}
	if dropped == 0 || len(c.history) != 16-dropped {
		t.Errorf("%d messages dropped, %d are left", dropped, len(c.history))
	}
	before := len(c.history)
	if _, err := send(strings.Repeat("dog ", 200)); !errors.Is(err, ErrContextFull) || len(c.history) != before {
		t.Errorf("a message too long: %v, %d messages", err, len(c.history))
	}
	bare := *m
	bare.Template = nil
	if _, err := NewChat(&bare, ""); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("without a template: %v", err)
	}
	if _, err := EncodeChat(ctx, &bare, nil); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("encoding without a template: %v", err)
	}
}
