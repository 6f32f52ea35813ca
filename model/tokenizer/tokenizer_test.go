package tokenizer

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// data returns a path under the project's folder of real inputs, and skips the
// test where there is none.
func data(t testing.TB, path string) string {
	t.Helper()
	p := filepath.Join("..", "..", "..", "shared", "data", path)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("needs %s, which is not part of the project", path)
	}
	return p
}

func loadFile(t testing.TB, dir string) *Tokenizer {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	config, _ := os.ReadFile(filepath.Join(dir, "tokenizer_config.json")) // optional
	tok, err := Load(raw, config)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// Known answers of the models' own tokenizers, in llama.cpp's format.
func TestKnownAnswers(t *testing.T) {
	root := data(t, "tok")
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			dir := filepath.Join(root, e.Name())
			tok := loadFile(t, dir)
			out, err := os.ReadFile(filepath.Join(dir, "cases.out"))
			if err != nil {
				t.Fatal(err)
			}
			texts := knownTexts(t, dir)
			lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
			if len(lines) > len(texts) {
				t.Fatalf("%d texts, %d answers", len(texts), len(lines))
			}
			for i, line := range lines {
				var want []int32
				for _, f := range strings.Fields(line) {
					id, err := strconv.Atoi(f)
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, int32(id))
				}
				got := tok.Encode(texts[i], EncodeOptions{})
				if !slices.Equal(got, want) {
					t.Errorf("%q:\n got %v\nwant %v", texts[i], got, want)
				}
				if back := tok.Decode(got); back != texts[i] && tok.decode.byteLevel {
					t.Errorf("%q decodes to %q", texts[i], back)
				}
			}
		})
	}
}

// knownTexts are those that there are answers for.
func knownTexts(t *testing.T, dir string) []string {
	t.Helper()
	in, err := os.ReadFile(filepath.Join(dir, "cases.inp"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.ReplaceAll(string(in), "\r\n", "\n"), "\n__ggml_vocab_test__\n")
}

// A tokenizer small enough to work out by hand.
const tiny = `{
  "added_tokens": [{"id": 9, "content": "<s>", "special": true}, {"id": 10, "content": "<end>", "special": true}],
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
  "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
    "special_tokens": {"<s>": {"ids": [9]}}},
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4, "Ã": 5, "©": 6, "abab": 7, "c": 8},
    "merges": ["a b", ["Ġ", "ab"], "ab ab"]}
}`

func TestTiny(t *testing.T) {
	tok, err := Load([]byte(tiny), []byte(`{"bos_token": "<s>", "eos_token": {"content": "<end>"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		o    EncodeOptions
		want []int32
	}{
		{"ab ab", EncodeOptions{}, []int32{3, 4}},
		{"abab", EncodeOptions{}, []int32{7}},
		{"ab", EncodeOptions{AddSpecial: true}, []int32{9, 3}},
		{"a<end>b", EncodeOptions{ParseSpecial: true}, []int32{0, 10, 1}},
		{"c<s>", EncodeOptions{}, []int32{8}}, // characters without a token are dropped
		{"é", EncodeOptions{}, []int32{5, 6}},
		{"", EncodeOptions{AddSpecial: true}, []int32{9}},
	} {
		if got := tok.Encode(c.text, c.o); !slices.Equal(got, c.want) {
			t.Errorf("%q %+v: %v, want %v", c.text, c.o, got, c.want)
		}
	}
	// A text that spells the beginning out has one, whatever ends whole texts.
	closing := strings.NewReplacer(`{"Sequence": {"id": "A"}}]`, `{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "<end>"}}]`, `{"ids": [9]}}`, `{"ids": [9]}, "<end>": {"ids": [10]}}`).Replace(tiny)
	ends, err := Load([]byte(closing), []byte(`{"bos_token": "<s>", "add_eos_token": true, "eos_token": "<end>"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		o    EncodeOptions
		want []int32
	}{
		{"ab", EncodeOptions{AddSpecial: true}, []int32{9, 3}},
		{"<s>ab", EncodeOptions{AddSpecial: true, ParseSpecial: true}, []int32{9, 3}},
		{"<s><s>ab", EncodeOptions{AddSpecial: true, ParseSpecial: true}, []int32{9, 9, 3}},
		{"<s>", EncodeOptions{AddSpecial: true, ParseSpecial: true}, []int32{9}},
		{"<s>ab", EncodeOptions{ParseSpecial: true}, []int32{9, 3}},
		{"<end>", EncodeOptions{AddSpecial: true, ParseSpecial: true}, []int32{9, 10}},
	} {
		if got := ends.Encode(c.text, c.o); !slices.Equal(got, c.want) {
			t.Errorf("%q %+v: %v, want %v", c.text, c.o, got, c.want)
		}
	}
	if v := ends.Vocabulary(); !slices.Equal(v.Suffix, []int32{10}) {
		t.Errorf("whole texts end with %v", v.Suffix)
	}
	if bos, ok := tok.BOS(); !ok || bos != 9 || !tok.AddBOS() {
		t.Errorf("BOS %d %v, added: %v", bos, ok, tok.AddBOS())
	}
	if got := tok.Decode([]int32{9, 3, 4, 10}); got != "ab ab" {
		t.Errorf("decoded %q", got)
	}
	// An explicit setting overrules the template.
	off, err := Load([]byte(tiny), []byte(`{"bos_token": "<s>", "add_bos_token": false}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := off.Encode("ab", EncodeOptions{AddSpecial: true}); !slices.Equal(got, []int32{3}) {
		t.Errorf("add_bos_token false: %v", got)
	}
}

func TestStreamHoldsBackCharacters(t *testing.T) {
	tok, err := Load([]byte(tiny), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := tok.NewStream()
	if got := s.Push(5); got != "" {
		t.Errorf("half a character gave %q", got)
	}
	if got := s.Push(6); got != "é" {
		t.Errorf("the other half gave %q", got)
	}
	s.Push(5)
	if got := s.Flush(); got != "\uFFFD" {
		t.Errorf("an unfinished character gave %q", got)
	}
}

func TestRefuses(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(tiny, old, new, 1) }
	for name, c := range map[string]struct {
		json string
		want error
	}{
		"no JSON":                 {"{", ErrCorrupt},
		"other model":             {with(`"BPE"`, `"Trigram"`), ErrUnsupported},
		"unknown splitter":        {with(`"type": "ByteLevel", "add`, `"type": "Whisper", "add`), ErrUnsupported},
		"unknown decoder":         {with(`"decoder": {"type": "ByteLevel"}`, `"decoder": {"type": "CTC"}`), ErrUnsupported},
		"merge out of vocab":      {with(`"a b"`, `"a x"`), ErrCorrupt},
		"merge without a space":   {with(`"a b"`, `"ab"`), ErrCorrupt},
		"negative id":             {with(`"c": 8`, `"c": -8`), ErrCorrupt},
		"huge id":                 {with(`"c": 8`, `"c": 2000000000`), ErrCorrupt},
		"unknown normalizer":      {with(`"pre_tokenizer"`, `"normalizer": {"type": "NFX"}, "pre_tokenizer"`), ErrUnsupported},
		"unknown post-processor":  {with(`"TemplateProcessing"`, `"Whisper"`), ErrUnsupported},
		"template without token":  {with(`{"<s>": {"ids": [9]}}`, `{}`), ErrCorrupt},
		"template without text":   {with(`, {"Sequence": {"id": "A"}}`, ``), ErrUnsupported},
		"template with two texts": {with(`{"Sequence": {"id": "A"}}`, `{"Sequence": {"id": "A"}}, {"Sequence": {"id": "A"}}`), ErrUnsupported},
		"huge template":           {with(`[9]`, `[`+strings.Repeat("9,", maxAround)+`9]`), ErrUnsupported},
		"two templates": {strings.NewReplacer(`"post_processor": {`, `"post_processor": {"type": "Sequence", "processors": [{"type": "BertProcessing", "sep": ["a", 0], "cls": ["b", 1]}, {`,
			`[9]}}},`, `[9]}}}]},`).Replace(tiny), ErrUnsupported},
		"separator beyond vocab": {with(`"post_processor": {"type": "TemplateProcessing"`, `"post_processor": {"type": "BertProcessing", "sep": ["a", 0], "cls": ["b", -1]`), ErrCorrupt},
		"dropout":                {with(`"type": "BPE"`, `"type": "BPE", "dropout": 0.1`), ErrUnsupported},
		"token of nothing once normalized": {strings.NewReplacer(`"content": "<end>"`, `"content": " ", "normalized": true`,
			`"pre_tokenizer"`, `"normalizer": {"type": "Strip", "strip_left": true}, "pre_tokenizer"`).Replace(tiny), ErrUnsupported},
		"first word, unknown which": {strings.NewReplacer(`"type": "ByteLevel", "add_prefix_space": false`, `"type": "Metaspace", "prepend_scheme": "first"`,
			`"pre_tokenizer"`, `"normalizer": {"type": "Strip", "strip_left": true}, "pre_tokenizer"`).Replace(tiny), ErrUnsupported},
		"replacement of nothing":     {with(`"pre_tokenizer"`, `"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "a"}, "pre_tokenizer"`), ErrUnsupported},
		"delimiter of two":           {with(`"type": "ByteLevel", "add`, `"type": "CharDelimiterSplit", "delimiter": "ab", "add`), ErrCorrupt},
		"prefix space and scheme":    {with(`"type": "ByteLevel", "add`, `"type": "Metaspace", "prepend_scheme": "first", "add`), ErrCorrupt},
		"space of two":               {with(`"type": "ByteLevel", "add_prefix_space": false`, `"type": "Metaspace", "replacement": "ab"`), ErrCorrupt},
		"unknown scheme":             {with(`"type": "ByteLevel", "add_prefix_space": false`, `"type": "Metaspace", "prepend_scheme": "last"`), ErrUnsupported},
		"decoder after words joined": {with(`"decoder": {"type": "ByteLevel"}`, `"decoder": {"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "Metaspace"}]}`), ErrUnsupported},
		"bytes after words joined":   {with(`"decoder": {"type": "ByteLevel"}`, `"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]}`), ErrUnsupported},
		"spelling twice":             {with(`"decoder": {"type": "ByteLevel"}`, `"decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "ByteLevel"}]}`), ErrUnsupported},
		"long replacement of all":    {with(`"decoder": {"type": "ByteLevel"}`, `"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Replace", "pattern": {"String": "ab"}, "content": "c"}]}`), ErrUnsupported},
		"strip at the end of all":    {with(`"decoder": {"type": "ByteLevel"}`, `"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": "a", "stop": 1}]}`), ErrUnsupported},
		"step after ends of words":   {with(`"decoder": {"type": "ByteLevel"}`, `"decoder": {"type": "Sequence", "decoders": [{"type": "BPEDecoder", "suffix": "b"}, {"type": "Fuse"}]}`), ErrUnsupported},
		"template beyond vocab":      {with(`"ids": [9]`, `"ids": [99]`), ErrCorrupt},
		"empty added token":          {with(`"content": "<end>"`, `"content": ""`), ErrCorrupt},
		"long added token":           {with(`"content": "<end>"`, `"content": "`+strings.Repeat("x", maxAdded+1)+`"`), ErrUnsupported},
		"exploding normalizer": {with(`"pre_tokenizer"`, `"normalizer": {"type": "Sequence", "normalizers": [`+
			strings.Repeat(`{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaa"},`, 20)+`{"type": "NFC"}]}, "pre_tokenizer"`), ErrUnsupported},
		"exploding splitter": {with(`"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}`, `"pre_tokenizer": {"type": "Sequence", "pretokenizers": [`+
			strings.Repeat(`{"type": "ByteLevel"},`, 20)+`{"type": "ByteLevel"}]}`), ErrUnsupported},
		"exploding decoder": {with(`"decoder": {"type": "ByteLevel"}`, `"decoder": {"type": "Replace", "pattern": {"Regex": ""}, "content": "`+strings.Repeat("x", maxGrowth)+`"}`), ErrUnsupported},
	} {
		if _, err := Load([]byte(c.json), nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// The scanners equal the patterns they stand for.
func TestScannersEqualPatterns(t *testing.T) {
	for expr, scan := range scanners {
		re, err := compile(expr)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"", "Hello, world!", "it's I'LL 'sx 'x", "  a  b\n\n c\t\n", "x1234567y", "日本語 text…  é\u00a0z", "a\r\n\r\nb", "   ", "\n \n  x", "don't--stop!!!\n\n", "\u017f's 'ſ", "e\u0301 \u0301a \u0301 \u0301\u0301!\u0301\n हिन्दी में", "fooBar BAZ's ABあC Aあb's ǅa ʰX !A !ab/\n//\n \u0301A \u0301 'S'LL x'sy"} {
			want := re.find(text, nil)
			if got := scan(text, nil); !slices.Equal(got, want) {
				t.Errorf("%.20s… on %q: %v, want %v", expr, text, got, want)
			}
		}
	}
}

// FuzzScanners compares them on any text.
func FuzzScanners(f *testing.F) {
	patterns := make(map[string]*expression)
	for expr := range scanners {
		re, err := compile(expr)
		if err != nil {
			f.Fatal(err)
		}
		patterns[expr] = re
	}
	f.Add("fooBar BAZ's ABあC \u0301A12345!\r\n /x")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "")
		for expr, scan := range scanners {
			if got, want := scan(text, nil), patterns[expr].find(text, nil); !slices.Equal(got, want) {
				t.Errorf("%.20s… on %q: %v, want %v", expr, text, got, want)
			}
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	tok, err := Load(demoJSON(f), nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"Hello", "a\x00b", "\xff\xfe", "<|im_end|>", "  \n\t x 12345", "é日本🙂"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ids := tok.Encode(s, EncodeOptions{})
		if got, want := tok.Decode(ids), strings.ToValidUTF8(s, "\uFFFD"); got != want {
			t.Errorf("%q came back as %q", want, got)
		}
	})
}

func demoJSON(t testing.TB) []byte {
	t.Helper()
	raw, err := os.ReadFile("../demo/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(raw) {
		t.Fatal("the demo's tokenizer.json is damaged")
	}
	return raw
}

func BenchmarkEncode(b *testing.B) {
	raw, err := os.ReadFile("../demo/eval_stories.txt")
	if err != nil {
		b.Fatal(err)
	}
	tok, err := Load(demoJSON(b), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		tok.Encode(string(raw), EncodeOptions{})
	}
}
