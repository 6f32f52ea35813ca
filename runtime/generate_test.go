package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/chat"
	"nibble/model/modeltest"
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
	if whole.FirstToken <= 0 || whole.PrefillTPS <= 0 || whole.DecodeTPS <= 0 {
		t.Errorf("no speeds: %+v", whole)
	}
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
	for name, stop := range map[string][]string{"none": nil, "empty": {""}, "not in the text": {"nowhere", text[:10] + "~"}, "begun at the end": {text[len(text)-2:] + "~"}} {
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
	return argmax(all[len(all)-m.Config.Vocab:])
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
	for _, id := range []int32{-1, int32(m.Config.Vocab)} {
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
		if used, limit := c.Context(); used < len(ids) || limit != m.Config.Positions {
			t.Errorf("turn %d: %d of %d tokens in use", turn, used, limit)
		}
		cached = slices.Clone(c.s.Tokens())
		messages = append(messages, chat.Message{Role: "assistant", Content: got.Text})
	}
	c.Reset()
	again, err := c.Send(ctx, "A story about a dog.", o, nil)
	if err != nil || len(c.history) != 2 || again.PromptTokens != 1 { // the last, whose logits are wanted
		t.Errorf("after a reset: %d messages, %d tokens computed, %v", len(c.history), again.PromptTokens, err)
	}
	// As long as what the cache holds, and other from the first word on.
	c.Reset()
	messages = []chat.Message{{Role: "system", Content: "Tell stories."}, {Role: "user", Content: "The tale about a cat."}}
	other, err := c.Send(ctx, messages[1].Content, o, nil)
	ids, encodeErr := EncodeChat(ctx, m, messages)
	if err != nil || encodeErr != nil {
		t.Fatal(err, encodeErr)
	}
	want, err := m.Generate(ctx, m.NewSession(0), ids, o, nil)
	if err != nil || other.Text != want.Text || other.PromptTokens < 5 {
		t.Errorf("another conversation: %+v, afresh %+v, %v", other, want, err)
	}
	history := len(c.history)
	if _, err := c.Send(ctx, "And?", GenOptions{Temp: -1}, nil); !errors.Is(err, ErrOptions) || len(c.history) != history {
		t.Errorf("a negative temperature: %v, %d messages", err, len(c.history))
	}
}

// A conversation is the template's text, in which special tokens are tokens, and
// has no system message unless one was given.
func TestChatPrompt(t *testing.T) {
	m, _ := story(t)
	ctx := context.Background()
	ids, err := EncodeChat(ctx, m, []chat.Message{{Role: "user", Content: "Hi"}})
	if err != nil {
		t.Fatal(err)
	}
	if start, ok := m.Tok.ID("<|im_start|>"); !ok || ids[0] != start || m.Tok.Decode(ids[1:4]) != "user\n" {
		t.Errorf("%v, %q", ids, m.Tok.Decode(ids))
	}
	c, err := NewChat(m, "")
	if err != nil {
		t.Fatal(err)
	}
	if turn, err := c.Send(ctx, "Hi", GenOptions{MaxTokens: 1}, nil); err != nil || turn.PromptTokens != len(ids) {
		t.Errorf("%d tokens without a system message, want %d, %v", turn.PromptTokens, len(ids), err)
	}
	// There must be room for the answer that was asked for, or a usual one.
	for _, room := range []struct{ most, needs int }{{0, minAnswer}, {8, 8}, {1000, minAnswer}} {
		for _, short := range []int{0, 1} {
			c.Reset()
			c.s = m.NewSession(len(ids) + room.needs - short)
			_, err := c.Send(ctx, "Hi", GenOptions{MaxTokens: room.most}, nil)
			if full := errors.Is(err, ErrContextFull); full != (short > 0) {
				t.Errorf("an answer of %d tokens with %d missing: %v", room.most, short, err)
			}
		}
	}
	mute := *m
	mute.Tok = nil
	if _, err := NewChat(&mute, ""); !errors.Is(err, ErrNoTokenizer) {
		t.Errorf("without a tokenizer: %v", err)
	}
	if _, err := EncodeChat(ctx, &mute, nil); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("encoding without a tokenizer: %v", err)
	}
	broken := *m
	if broken.Template, err = chat.Load(chat.Files{Config: []byte(`{"chat_template": "{{ raise_exception('no') }}"}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := EncodeChat(ctx, &broken, nil); err == nil {
		t.Error("a template's error was dropped")
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
	told, err := NewChat(&bare, "")
	if err != nil {
		t.Fatal(err)
	}
	for turn, want := range []int{1, 0} { // its usual form, told once
		got, err := told.Send(ctx, "Tell me", GenOptions{MaxTokens: 4}, nil)
		if notes := strings.Join(got.Notes, ""); err != nil || strings.Count(notes, "no chat template") != want {
			t.Errorf("turn %d without a template: %q, %v", turn, notes, err)
		}
	}
	if _, err := EncodeChat(ctx, &bare, nil); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("encoding without a template: %v", err)
	}
}

// words is a tokenizer of words, each with the space before it, as SentencePiece
// has them: the first of a text loses its space.
func words(t *testing.T, n int) *tokenizer.Tokenizer {
	t.Helper()
	vocab := map[string]int{"<s>": 0}
	for i := 1; i < n; i++ {
		vocab[fmt.Sprintf("▁w%d", i)] = i
	}
	text, err := json.Marshal(map[string]any{
		"added_tokens": []any{map[string]any{"id": 0, "content": "<s>", "special": true}},
		"model":        map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{}},
		"decoder": map[string]any{"type": "Sequence", "decoders": []any{
			map[string]any{"type": "Replace", "pattern": map[string]any{"String": "▁"}, "content": " "},
			map[string]any{"type": "Fuse"}, map[string]any{"type": "Strip", "content": " ", "start": 1, "stop": 0}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Load(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// What begins a text loses its space, what continues one keeps it.
func TestGenerateKeepsTheSpace(t *testing.T) {
	c := modeltest.Small()
	m := load(t, modeltest.New(1, c).Write(t, nil), kernels.Options{Threads: 1})
	m.Tok, m.EOS = words(t, c.Vocab), nil
	ctx, o := context.Background(), GenOptions{MaxTokens: 3}
	for name, c := range map[string]struct {
		before, prompt []int32
		begins         bool
	}{
		"from the beginning":          {nil, []int32{0}, true},
		"after a word":                {nil, []int32{0, 5}, false},
		"in a text that has words":    {[]int32{0, 5}, []int32{0}, false},
		"after words, in a new cache": {nil, []int32{5, 6}, false},
	} {
		s := m.NewSession(0)
		if _, err := s.Forward(ctx, c.before); err != nil {
			t.Fatal(err)
		}
		res, err := m.Generate(ctx, s, c.prompt, o, nil)
		if err != nil || strings.HasPrefix(res.Text, " ") == c.begins || len(res.Text) < 6 {
			t.Errorf("%s: %q, %v", name, res.Text, err)
		}
	}
}

// Output that is not finite is an error that says why.
func TestGenerateBroken(t *testing.T) {
	ctx := context.Background()
	for value, c := range map[float64]struct {
		want error
		says string
	}{
		math.NaN():  {model.ErrNotFinite, "model.norm.weight"},
		math.Inf(1): {model.ErrNotFinite, "model.norm.weight"},
		3e38:        {ErrBroken, "overflows"},
	} {
		tiny := modeltest.New(1, modeltest.Small())
		for i := range tiny.Tensors["model.norm.weight"].Data {
			tiny.Tensors["model.norm.weight"].Data[i] = value
		}
		m := load(t, tiny.Write(t, nil), kernels.Options{Threads: 1})
		m.Tok = words(t, m.Config.Vocab)
		if _, err := m.Generate(ctx, m.NewSession(0), []int32{1, 2}, GenOptions{}, nil); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("weights of %g: %v", value, err)
		}
	}
}
