package tokenizer

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// with makes a tokenizer of single characters out of a component.
func with(t *testing.T, key, component string) *Tokenizer {
	t.Helper()
	vocab := map[string]int{}
	for i, c := range strings.Split("a b c ab</w> c</w> æĹ ĠðŁ ĺ <0xE6> <0x41> ▁a", " ") {
		vocab[c] = i
	}
	spelled, err := json.Marshal(vocab)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := Load([]byte(`{"`+key+`": `+component+`, "model": {"type": "BPE", "merges": [], "vocab": `+string(spelled)+`}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// What the library's normalizers make of a text.
func TestNormalizers(t *testing.T) {
	for _, c := range []struct{ component, text, want string }{
		{`{"type": "Nmt"}`, "a\x7fb\x01c\u200bd\ufeffe▁f\tg\u008fh", "abc d e f gh"},
		{`{"type": "Lowercase"}`, "İΣA", "i\u0307σa"},
		{`{"type": "StripAccents"}`, "e\u0301é\u0903", "eé"},
		{`{"type": "Strip", "strip_left": true}`, " \u00a0a ", "a "},
		{`{"type": "Strip", "strip_right": true}`, " a\n ", " a"},
		{`{"type": "ByteLevel"}`, " é", "ĠÃ©"},
		{`{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "lowercase": true}`, "A\u200bÉ\t\x01日b", "ae  日 b"},
		{`{"type": "BertNormalizer", "clean_text": true}`, "a\r\n\u00a0\u2028b\u0085c\v\fd\ufffde\ue000f", "a    bcdef"},
		{`{"type": "BertNormalizer", "lowercase": true, "strip_accents": false}`, "AÉ", "aé"},
		{`{"type": "Replace", "pattern": {"Regex": "^|b"}, "content": "-"}`, "ab", "-a-"},
		{`{"type": "Replace", "pattern": {"Regex": "$"}, "content": "-"}`, "", ""},
		{`{"type": "Prepend", "prepend": "▁"}`, "", ""},
	} {
		if got := with(t, "normalizer", c.component).normalizeText(c.text); got != c.want {
			t.Errorf("%s of %q: %q, want %q", c.component, c.text, got, c.want)
		}
	}
}

// What the library's pre-tokenizers cut a text into.
func TestSplitters(t *testing.T) {
	for _, c := range []struct{ component, text, want string }{
		{`{"type": "Punctuation", "behavior": "Isolated"}`, "a\u2e52b\u166dc-d", "a\u2e52b|\u166d|c|-|d"},
		{`{"type": "Punctuation", "behavior": "Contiguous"}`, "ab--c", "ab|--|c"},
		{`{"type": "Digits", "individual_digits": false}`, "ab12²c", "ab|12²|c"},
		{`{"type": "Digits", "individual_digits": true}`, "ab12c", "ab|1|2|c"},
		{`{"type": "Whitespace"}`, " ab, c--\u200d", "ab|,|c|--|\u200d"},
		{`{"type": "BertPreTokenizer"}`, "ab, c", "ab|,|c"},
		{`{"type": "CharDelimiterSplit", "delimiter": "b"}`, "abbcb", "a|c"},
		{`{"type": "Split", "pattern": {"Regex": "(?=[A-Z])"}, "behavior": "Isolated"}`, "aBC", "a|B|C"},
		{`{"type": "Split", "pattern": {"String": "-"}, "behavior": "MergedWithNext"}`, "a--b-", "a|-|-b|-"},
		{`{"type": "Split", "pattern": {"String": "-"}, "behavior": "MergedWithPrevious"}`, "-a--b", "-|a-|-|b"},
		{`{"type": "Split", "pattern": {"String": "-"}, "behavior": "Contiguous", "invert": true}`, "a--b", "a|--|b"},
		{`{"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "prepend_scheme": "first"}]}`, "a b", "▁a|b"},
		{`{"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "prepend_scheme": "first"}]}`, " a b", "a|b"},
	} {
		tok := with(t, "pre_tokenizer", c.component)
		words, first := []string{c.text}, true
		for _, split := range tok.split {
			words, first = split(words, first)
		}
		if got := strings.Join(words, "|"); got != c.want {
			t.Errorf("%s of %q: %q, want %q", c.component, c.text, got, c.want)
		}
	}
}

// What the library's decoders make of pieces.
func TestDecoders(t *testing.T) {
	for _, c := range []struct{ component, pieces, want string }{
		{`null`, "a b c", "a b c"},
		{`{"type": "BPEDecoder", "suffix": "</w>"}`, "ab</w> c</w>", "ab c"},
		{`{"type": "ByteLevel"}`, "æĹ a ĠðŁ ĺ", "\ufffda \ufffd"},
		{`{"type": "ByteFallback"}`, "<0x41> <0xE6> a", "\ufffd\ufffda"},
		{`{"type": "ByteFallback"}`, "<0x41> a", "Aa"},
		{`{"type": "Metaspace", "prepend_scheme": "never"}`, "▁a ▁a", " a a"},
		{`{"type": "Metaspace", "prepend_scheme": "always"}`, "▁a ▁a", "a a"},
		{`{"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": "a", "start": 2, "stop": 0}]}`, "a a a b a", "aba"},
		{`{"type": "Strip", "content": "a", "start": 1, "stop": 1}`, "a b ▁a", "b▁"},
	} {
		tok := with(t, "decoder", c.component)
		var ids []int32
		for p := range strings.SplitSeq(c.pieces, " ") {
			ids = append(ids, tok.vocab[p])
		}
		if got := tok.Decode(ids); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.component, c.pieces, got, c.want)
		}
	}
}

// Tokens that are added again, or that normalization or white space make meet.
func TestAddedTokensMeet(t *testing.T) {
	lower := strings.ToLower
	for _, c := range []struct {
		tokens  []addedToken
		text    string
		special bool
		want    []any
	}{
		{[]addedToken{{Content: "<r>", RStrip: true}, {Content: " "}}, "<r>  x", true, []any{int32(0), int32(1), int32(1), "x"}},
		{[]addedToken{{Content: "<r>", RStrip: true}, {Content: " ", LStrip: true, RStrip: true}}, "<r>  x", true, []any{int32(0), "x"}},
		{[]addedToken{{Content: "ab"}, {Content: "ab", Special: true}, {Content: "ab", LStrip: true}}, "x ab", true, []any{"x", int32(0)}},
		{[]addedToken{{Content: "ab"}, {Content: "ab", Special: true}, {Content: "ab", LStrip: true}}, "x ab", false, []any{"x ab"}},
		{[]addedToken{{Content: "ab", Normalized: true}, {Content: "ab", LStrip: true}, {Content: "ab", Normalized: true}}, "x ab", true, []any{"x", int32(0)}},
		{[]addedToken{{Content: "ab", Normalized: true}, {Content: "ab"}}, "ab AB", true, []any{int32(0), " ", int32(0)}},
		{[]addedToken{{Content: "ab", Special: true}, {Content: "ab", Normalized: true}}, "AB ab", true, []any{"ab ", int32(0)}},
		{[]addedToken{{Content: "A", Normalized: true}, {Content: "a", Normalized: true, Special: true}}, "xax", true, []any{"x", int32(1), "x"}},
		{[]addedToken{{Content: "ab", SingleWord: true}}, "x\u200dab ab", true, []any{"x\u200dab ", int32(0)}},
	} {
		a, err := newAddedTokens(c.tokens, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.plant(lower); err != nil {
			t.Fatal(err)
		}
		var got []any
		a.walk(c.text, c.special, lower, func(s string) { got = append(got, s) }, func(id int32) { got = append(got, id) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v in %q, special %v: %v, want %v", c.tokens, c.text, c.special, got, c.want)
		}
	}
}

// Every way to cut texts that GGUF files name can be built, keeps the text, and has
// names of its own.
func TestNamedPreTokenizers(t *testing.T) {
	seen := map[string]bool{}
	for _, pre := range preTokenizers {
		var splitters []splitter
		for _, step := range pre.steps {
			var c component
			if err := json.Unmarshal([]byte(step), &c); err != nil {
				t.Fatal(err)
			}
			split, err := newSplitters(&c)
			if err != nil {
				t.Errorf("%s: %v", pre.names[0], err)
			}
			splitters = append(splitters, split...)
		}
		const text = "Hello WORLD, it's 1234567 x\n\n  日本語テキスト 한국어 don't…  é\u0301 (a) 12\t "
		words, first := []string{text}, true
		for _, split := range splitters {
			words, first = split(words, first)
		}
		back := strings.Join(words, "")
		if !pre.visibleSpaces {
			back = unspellBytes(back)
		}
		if back != text || len(words) < 2 {
			t.Errorf("%s: the text comes back as %q", pre.names[0], back)
		}
		for _, name := range pre.names {
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
	}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"superbpe", "a1234567", []string{"a", "1", "234", "567"}},
		{"afmoe", "12345 1", []string{"12", "345", "Ġ", "1"}},
		{"tiny_aya", "1234567", []string{"1", "234", "567"}},
		{"kimi-k2", "中文Ab's cd1234", []string{spellBytes("中文"), "Ab's", "Ġcd", "123", "4"}},
		{"gpt-4o", "fooBar/\n", []string{"foo", "Bar", "/Ċ"}},
		{"ufakzeka", "Ali'nin", []string{"Ali", "'nin"}},
		{"laguna", "a\n\n b", []string{"a", "ĊĊ", "Ġb"}},
	} {
		pre, _ := preTokenizerNamed(c.name)
		words, first := []string{c.text}, true
		for _, step := range pre.steps {
			var comp component
			if err := json.Unmarshal([]byte(step), &comp); err != nil {
				t.Fatal(err)
			}
			split, err := newSplitters(&comp)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range split {
				words, first = s(words, first)
			}
		}
		if !slices.Equal(words, c.want) {
			t.Errorf("%s cuts %q to %q, want %q", c.name, c.text, words, c.want)
		}
	}
}
