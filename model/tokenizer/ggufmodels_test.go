package tokenizer

import (
	"errors"
	"slices"
	"testing"
)

func yes() *bool { v := true; return &v }
func no() *bool  { v := false; return &v }

// The models of GGUF files, small enough to work out by hand.
func TestGGUFModels(t *testing.T) {
	bert := GGUF{Model: "bert", Tokens: []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁the", "▁cat", "s", "▁,", "[x]", "cat"}, Types: []int32{3, 2, 3, 3, 1, 1, 1, 1, 1, 1},
		BOS: 2, EOS: -1, Separator: 3, Unknown: 1, Pad: 0}
	cased := bert
	cased.Lowercase = no()
	t5 := GGUF{Model: "t5", Tokens: []string{"<pad>", "</s>", "<unk>", "▁", "a", "b", "▁a", "▁ab", ""}, Types: []int32{3, 3, 2, 1, 1, 1, 1, 1, 5}, Scores: []float32{0, 0, 0, -2, -3, -3, -2, -9, 0},
		BOS: -1, EOS: 1, Unknown: 2, Pad: 0, Separator: -1}
	bare := t5
	bare.AddSpacePrefix, bare.TrimSpaces, bare.AddEOS = no(), no(), no()
	gemma := GGUF{Model: "gemma4", Tokens: []string{"<pad>", "<eos>", "<bos>", "<unk>", "▁", "a", "b", "▁a", "▁ab", "\n", "<0xC3>", "<0xA9>", "b▁"}, Types: []int32{3, 3, 3, 2, 1, 1, 1, 1, 1, 1, 6, 6, 1},
		Merges: []string{"▁ a", "▁a b", "b ▁"}, BOS: 2, EOS: 1, Unknown: 3, Pad: 0, Separator: -1, AddBOS: yes()}
	for name, c := range map[string]struct {
		gguf           GGUF
		kind, text     string
		want           []int32
		decoded        string
		prefix, suffix []int32
	}{
		"bert":       {bert, WordPiece, "The CATS, [x] é", []int32{4, 5, 6, 7, 1, 1, 1, 1}, "the cats,", []int32{2}, []int32{3}},
		"bert cased": {cased, WordPiece, "The cats", []int32{1, 5, 6}, "cats", []int32{2}, []int32{3}},
		"t5":         {t5, Unigram, "  ab   a é", []int32{6, 5, 6, 3, 2}, "ab a ", nil, []int32{1}},
		"t5 bare":    {bare, Unigram, "ab a", []int32{4, 5, 6}, "ab a", nil, nil},
		"gemma4":     {gemma, SentencePieceBPE, " ab a\n<bos>é", []int32{8, 7, 9, 2, 10, 11}, " ab a\né", []int32{2}, nil},
	} {
		file, err := c.gguf.TokenizerJSON()
		if err != nil {
			t.Fatal(err)
		}
		config, err := c.gguf.ConfigJSON()
		if err != nil {
			t.Fatal(err)
		}
		tok, err := Load(file, config)
		if err != nil {
			t.Fatal(err)
		}
		if kind, size := c.gguf.Summary(); kind != c.kind || tok.Kind() != kind || size != tok.VocabSize() && name[:2] != "t5" {
			t.Errorf("%s: %s of %d, once loaded %s of %d", name, kind, size, tok.Kind(), tok.VocabSize())
		}
		got := tok.Encode(c.text, EncodeOptions{ParseSpecial: true})
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q encodes to %v, want %v", name, c.text, got, c.want)
		}
		if decoded := tok.Decode(got); decoded != c.decoded {
			t.Errorf("%s: %v decodes to %q, want %q", name, got, decoded, c.decoded)
		}
		if v := tok.Vocabulary(); !slices.Equal(v.Prefix, c.prefix) || !slices.Equal(v.Suffix, c.suffix) {
			t.Errorf("%s: %v and %v are put around texts, want %v and %v", name, v.Prefix, v.Suffix, c.prefix, c.suffix)
		}
	}
	for _, g := range []GGUF{{Model: "rwkv"}, {Model: "gpt2", Pre: "cl100k"}, {Model: "gpt2", Pre: "whitespace"}, {Model: "plamo2"}} {
		if _, err := g.Check(); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s, %s: %v", g.Model, g.Pre, err)
		}
	}
}
