package tokenizer

import (
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// longTexts have no place to cut, or one everywhere.
func longTexts(n int) map[string]string {
	rng := rand.New(rand.NewPCG(1, 1))
	letters, bytes := make([]byte, n), make([]byte, n)
	for i := range letters {
		letters[i], bytes[i] = byte('a'+rng.IntN(26)), byte(rng.Uint32())
	}
	repeat := func(s string) string { return strings.Repeat(s, n/len(s)) }
	return map[string]string{"one letter": repeat("a"), "letters": string(letters), "bytes": string(bytes), "spaces": repeat(" "), "space at the end": repeat("  ") + "a",
		"lines": repeat("\n"), "digits": repeat("1234567890"), "punctuation": repeat("="), "quotes": repeat("'"), "marks": "a" + repeat("\u0300"), "characters": repeat("日本語"),
		"token begins": repeat("<"), "half tokens": repeat("<|"), "tokens": repeat("<s>"), "words": repeat("the "), "visible spaces": repeat("▁"), "lines of space": repeat(" \n")}
}

// tokenizers lists files of tokenizers: the demo's alone where there are no others.
func tokenizers() []string {
	paths, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "tok", "*", "tokenizer.json"))
	return append(paths, filepath.Join("..", "demo", "tokenizer.json"))
}

// A text without spaces comes back.
func TestLongWords(t *testing.T) {
	for _, path := range tokenizers() {
		tok := loadFile(t, filepath.Dir(path))
		for name, text := range longTexts(1 << 17) {
			ids := tok.Encode(text, EncodeOptions{})
			if back, want := tok.Decode(ids), tok.normalizeText(strings.ToValidUTF8(text, "\uFFFD")); tok.decode.byteLevel && back != want {
				t.Errorf("%s, %s: comes back as another text of %d bytes", path, name, len(back))
			}
		}
	}
}

// Ids from elsewhere decode to something, however wrong they are.
func TestHostileIDs(t *testing.T) {
	tok, err := Load(demoJSON(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	ids := []int32{-1, math.MinInt32, math.MaxInt32, int32(tok.VocabSize())}
	if got := tok.Decode(ids); got != "" {
		t.Errorf("ids without a piece decode to %q", got)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 10000 {
		ids = append(ids, rng.Int32N(int32(tok.VocabSize())+10)-5)
	}
	if got := tok.Decode(ids); !utf8.ValidString(got) || got == "" {
		t.Errorf("random ids decode to %d bytes, valid: %v", len(got), utf8.ValidString(got))
	}
}

func TestAddedTokens(t *testing.T) {
	tokens := []addedToken{
		{ID: 1, Content: "<a>", Special: true},
		{ID: 2, Content: "<a>b"},
		{ID: 3, Content: "<a>bc", Special: true},
		{ID: 4, Content: "word", SingleWord: true},
		{ID: 5, Content: "<l>", LStrip: true},
		{ID: 6, Content: "<r>", RStrip: true},
		{ID: 7, Content: "N", Normalized: true},
		{ID: 8, Content: "<a>", Special: true}, // again
	}
	lower := strings.ToLower
	a, err := newAddedTokens(tokens, map[string]int32{"x": 0}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.plant(lower); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text    string
		special bool
		want    []any // plain texts and ids
	}{
		{"", true, nil},
		{"x<a>y", true, []any{"x", int32(1), "y"}},
		{"x<a>y", false, []any{"x<a>y"}},
		{"<a>b", true, []any{int32(2)}},
		{"<a>bc", true, []any{int32(3)}},
		{"<a>bc", false, []any{"<a>bc"}}, // the longest is not looked into
		{"<a><a", true, []any{int32(1), "<a"}},
		{"a word words", true, []any{"a ", int32(4), " words"}},
		{"x  <l>  y  <r>  z", true, []any{"x", int32(5), "  y  ", int32(6), "z"}},
		{"XNX", true, []any{"x", int32(7), "x"}},
	} {
		var got []any
		a.walk(c.text, c.special, lower, func(s string) {
			if s != "" {
				got = append(got, s)
			}
		}, func(id int32) { got = append(got, id) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%q, special %v: %v, want %v", c.text, c.special, got, c.want)
		}
	}
}

// A pattern that takes for ever is given up, once and for all.
func TestPatternGivesUp(t *testing.T) {
	e, err := compile(`(?:(?:a|aa)+)+[bc]`)
	if err != nil {
		t.Fatal(err)
	}
	e.re.MatchTimeout = 20 * time.Millisecond
	hard := strings.Repeat("a", 5000)
	if got := e.find(hard, nil); got != nil || !e.gaveUp.Load() {
		t.Errorf("found %v, gave up: %v", got, e.gaveUp.Load())
	}
	start := time.Now()
	for range 1000 {
		if e.find(hard, nil) != nil || e.replace(hard, "x") != hard {
			t.Fatal("it matched")
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("%v after giving up", took)
	}
}

// FuzzLoad puts components of any kind into a tokenizer: it is refused, or
// encodes and decodes.
func FuzzLoad(f *testing.F) {
	byteLevel := `{"type": "ByteLevel", "add_prefix_space": true, "use_regex": true}`
	f.Add("null", byteLevel, byteLevel, `{"id": 9, "content": "<s>", "special": true}`, "ab <s> ab")
	f.Add(`{"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, {"type": "NFKC"}, {"type": "Lowercase"}]}`,
		`{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true}`,
		`{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"Regex": "▁+"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}`,
		`{"id": 9, "content": "a", "lstrip": true, "rstrip": true, "single_word": true, "normalized": true}`, " a  b\n日")
	f.Add("null", `{"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\s+(?!\\S)|b"}, "behavior": "MergedWithPrevious", "invert": true}, {"type": "Digits", "individual_digits": true}, {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "WhitespaceSplit"}]}`,
		"null", `{"id": 100, "content": "b"}`, "a1 b22, c!?")
	f.Fuzz(func(t *testing.T, normalizer, splitter, decoder, added, text string) {
		raw := `{"added_tokens": [` + added + `], "normalizer": ` + normalizer + `, "pre_tokenizer": ` + splitter + `, "decoder": ` + decoder + `,
			"model": {"type": "BPE", "byte_fallback": true, "unk_token": "c", "merges": ["a b", "▁ ab"], "vocab": {"a": 0, "b": 1, "ab": 2, "▁": 3, "▁ab": 4, "c": 5, "Ġ": 6, "<0xE6>": 7, "": 8}}}`
		tok, err := Load([]byte(raw), nil)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		for _, special := range []bool{false, true} {
			ids := tok.Encode(text, EncodeOptions{AddSpecial: special, ParseSpecial: special})
			if !utf8.ValidString(tok.Decode(append(ids, -1, math.MaxInt32))) {
				t.Fatal("decoded text is not valid UTF-8")
			}
			for _, id := range ids {
				if id < 0 || int(id) >= tok.VocabSize() {
					t.Fatalf("id %d of %d", id, tok.VocabSize())
				}
			}
		}
		tok.Vocabulary()
	})
}
