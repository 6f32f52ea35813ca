package runtime

import (
	"context"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model/chat"
	"nibble/model/tokenizer"
)

func TestHeldText(t *testing.T) {
	for name, c := range map[string]struct {
		parts []string // special tokens in angle brackets
		stops []string
		want  string // given out
		stop  bool
	}{
		"none":                    {[]string{"a", "b<", "c"}, nil, "ab<c", false},
		"across tokens":           {[]string{"one E", "N", "D two"}, []string{"END"}, "one ", true},
		"begun only":              {[]string{"one E", "N", "O"}, []string{"END"}, "one ENO", false},
		"begun twice":             {[]string{"aa", "ab"}, []string{"aab"}, "a", true},
		"the first in the text":   {[]string{"x b a"}, []string{"a", "b"}, "x ", true},
		"the longest may be":      {[]string{"ab", "cd"}, []string{"abcd", "zz"}, "", true},
		"empty":                   {[]string{"ab"}, []string{""}, "ab", false},
		"a special token":         {[]string{"hi", "<end>", "more"}, []string{"<end>"}, "hi", true},
		"a special token's part":  {[]string{"hi", "<end>", "!"}, []string{"end", "<e", "nd>"}, "hi!", false},
		"special and text":        {[]string{"hi", "<end>", "\n"}, []string{"<end>\n"}, "hi", true},
		"special, then not":       {[]string{"hi", "<end>", "x"}, []string{"<end>\n"}, "hix", false},
		"two special ones":        {[]string{"a", "<b>", "<b>", "c"}, []string{"<b><b>"}, "a", true},
		"special is not given":    {[]string{"a", "<b>", "c"}, []string{"zz"}, "ac", false},
		"text that looks special": {[]string{"a <", "end", "> b"}, []string{"<end>"}, "a ", true},
	} {
		g := generation{o: GenOptions{Stop: c.stops}}
		stopped := false
		for _, p := range c.parts {
			if strings.HasPrefix(p, "<") && strings.HasSuffix(p, ">") {
				g.held.addSpecial(p)
				p = ""
			}
			if stopped = g.emit(p); stopped {
				break
			}
		}
		if !stopped {
			g.give(g.held.take(g.held.len()))
		}
		if got := g.text.String(); got != c.want || stopped != c.stop {
			t.Errorf("%s: %q, stopped: %v; want %q, %v", name, got, stopped, c.want, c.stop)
		}
	}
}

// Limits, stop strings and banned tokens of an answer, which is greedy here and the
// same each time.
func TestGenerateOptions(t *testing.T) {
	m := load(t, "demo", kernels.Options{Threads: 1})
	ctx := context.Background()
	ids, err := EncodeChat(ctx, m, []chat.Message{{Role: "user", Content: "What is the opposite of big?"}})
	if err != nil {
		t.Fatal(err)
	}
	generate := func(o GenOptions) (GenResult, string) {
		t.Helper()
		streamed := ""
		res, err := m.Generate(ctx, m.NewSession(0), ids, o, func(s string) { streamed += s })
		if err != nil {
			t.Fatal(err)
		}
		return res, streamed
	}
	whole, _ := generate(GenOptions{Seed: 7})
	if whole.StopReason != StopEOS || len(whole.Text) < 20 || whole.Seed != 7 {
		t.Fatalf("the answer is %+v", whole)
	}
	half := whole.Text[len(whole.Text)/2:][:6]
	end := m.Tok.Piece(m.EOS[0])
	for name, c := range map[string]struct {
		o      GenOptions
		reason StopReason
		text   string
		tokens int // 0: not known
	}{
		"tokens":                 {GenOptions{MaxTokens: 2}, StopLength, "", 2},
		"length":                 {GenOptions{MaxLength: len(ids) + 3}, StopLength, "", 3},
		"the shorter of both":    {GenOptions{MaxLength: len(ids) + 3, MaxTokens: 2}, StopLength, "", 2},
		"a prompt of the length": {GenOptions{MaxLength: len(ids)}, StopEOS, whole.Text, whole.Tokens},
		"a stop string":          {GenOptions{Stop: []string{half}}, StopString, whole.Text[:strings.Index(whole.Text, half)], 0},
		"the end by its id":      {GenOptions{Stop: []string{end}}, StopEOS, whole.Text, whole.Tokens},
		"the end by its text":    {GenOptions{Stop: []string{end}, IgnoreEOS: true}, StopString, whole.Text, whole.Tokens + 1},
	} {
		got, streamed := generate(c.o)
		if got.StopReason != c.reason || c.tokens > 0 && got.Tokens != c.tokens || c.text != "" && got.Text != c.text || streamed != got.Text {
			t.Errorf("%s: %+v, streamed %q; want %+v", name, got, streamed, c)
		}
		if told := len(got.Notes) > 0; told != (name == "a prompt of the length") {
			t.Errorf("%s: notes %q", name, got.Notes)
		}
	}
	first := ids[len(ids)-1:]
	banned, _ := generate(GenOptions{Banned: [][]int32{append(slices.Clone(first), m.Tok.Encode(whole.Text, tokenizer.EncodeOptions{})[0])}})
	if banned.Text == whole.Text {
		t.Errorf("a banned sequence is generated: %q", banned.Text)
	}
}
