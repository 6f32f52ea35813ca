package export

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"nibble/model"
	"nibble/model/arch"
	"nibble/model/gguf"
	"nibble/model/tokenizer"
)

const shared = "../../../shared/data/tok"

// sharedFile reads a tokenizer's file; the test is skipped without it.
func sharedFile(t *testing.T, name ...string) []byte {
	t.Helper()
	path := filepath.Join(append([]string{shared}, name...)...)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("needs %s", path)
	}
	return data
}

// bare is a checkpoint with nothing but a tokenizer.
func bare(t *testing.T, tokenizerJSON, config []byte, rows int) *model.Checkpoint {
	t.Helper()
	tok, err := tokenizer.Load(tokenizerJSON, config)
	if err != nil {
		t.Fatal(err)
	}
	if rows == 0 {
		rows = tok.VocabSize()
	}
	return &model.Checkpoint{Ref: "m", Tokenizer: tok, Config: model.Config{Model: &arch.Model{Vocab: rows}, BOS: -1}}
}

func keys(t *testing.T, ck *model.Checkpoint) map[string]any {
	t.Helper()
	kvs, _, err := vocabulary(ck)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]any)
	for _, kv := range kvs {
		out[kv.Key] = kv.Value
	}
	return out
}

// The keys of a real model, in full.
func TestDemoKeys(t *testing.T) {
	res, f := runTo(t, open(t, "demo"), Auto)
	var got strings.Builder
	for _, kv := range f.KVs {
		text := fmt.Sprint(kv.Value)
		if v := reflect.ValueOf(kv.Value); v.Kind() == reflect.Slice {
			text = fmt.Sprintf("%d: %v %v", v.Len(), v.Index(0), v.Index(v.Len()-1))
		}
		fmt.Fprintf(&got, "%s %T %.40s\n", kv.Key, kv.Value, text)
	}
	const want = `general.architecture string llama
general.name string demo
general.file_type uint32 32
general.quantization_version uint32 2
llama.vocab_size uint32 1024
llama.context_length uint32 512
llama.embedding_length uint32 128
llama.block_count uint32 5
llama.feed_forward_length uint32 384
llama.attention.head_count uint32 4
llama.attention.head_count_kv uint32 2
llama.attention.key_length uint32 32
llama.attention.value_length uint32 32
llama.attention.layer_norm_rms_epsilon float32 1e-05
llama.rope.dimension_count uint32 32
llama.rope.freq_base float32 10000
tokenizer.ggml.model string gpt2
tokenizer.ggml.pre string qwen2
tokenizer.ggml.merges []string 765: Ġ t Ġcat ch
tokenizer.ggml.tokens []string 1024: ! <|im_end|>
tokenizer.ggml.token_type []int32 1024: 1 3
tokenizer.ggml.bos_token_id uint32 1021
tokenizer.ggml.eos_token_id uint32 1023
tokenizer.ggml.eot_token_id uint32 1021
tokenizer.ggml.padding_token_id uint32 1021
tokenizer.ggml.add_bos_token bool false
tokenizer.ggml.add_eos_token bool false
tokenizer.chat_template string {% for message in messages %}{{ '<|im_st
`
	if got.String() != want {
		t.Errorf("keys:\n%s", got.String())
	}
	if len(res.Notes) != 0 {
		t.Errorf("notes %q", res.Notes)
	}
	if ck := open(t, "demo"); len(f.Tensors) != len(ck.Config.Modules())+len(ck.Config.Vectors()) {
		t.Errorf("%d tensors: a tied head is not stored twice", len(f.Tensors))
	}
}

// llama.cpp's own conversions of the same tokenizers.
func TestReferenceVocabularies(t *testing.T) {
	for name, file := range map[string]string{"llama-spm": "ggml-vocab-llama-spm.gguf", "gpt-2": "ggml-vocab-gpt-2.gguf"} {
		t.Run(name, func(t *testing.T) {
			data := sharedFile(t, file)
			ref, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			got := keys(t, bare(t, sharedFile(t, name, "tokenizer.json"), nil, 0))
			for _, key := range []string{"model", "pre", "tokens", "token_type", "merges"} {
				key = "tokenizer.ggml." + key
				if want, ok := ref.Value(key); ok && !reflect.DeepEqual(got[key], want) {
					t.Errorf("%s differs: %.80v, want %.80v", key, got[key], want)
				}
			}
			want, ok := ref.Value("tokenizer.ggml.scores")
			if !ok {
				return
			}
			// The scores themselves are arbitrary: the order of what merges make decides.
			tokens := got["tokenizer.ggml.tokens"].([]string)
			if !slices.Equal(byScore(tokens, got["tokenizer.ggml.scores"].([]float32)), byScore(tokens, want.([]float32))) {
				t.Error("the order of the scores differs")
			}
		})
	}
}

// byScore sorts the pieces of several characters, best score first.
func byScore(tokens []string, scores []float32) []string {
	order := make(map[string]float32, len(tokens))
	var pieces []string
	for id, piece := range tokens {
		if utf8.RuneCountInString(piece) > 1 && !strings.HasPrefix(piece, "<") {
			pieces, order[piece] = append(pieces, piece), scores[id]
		}
	}
	slices.SortStableFunc(pieces, func(a, b string) int { return cmp.Compare(order[b], order[a]) })
	return pieces
}

// llamaEncode is llama.cpp's SentencePiece tokenizer by its definition: while
// two neighbours spell a piece, the pair of best score merges, the leftmost of
// equals; what is no piece falls apart into bytes.
func llamaEncode(keys map[string]any, text string) []int {
	scores, ids := keys["tokenizer.ggml.scores"].([]float32), make(map[string]int)
	for id, piece := range keys["tokenizer.ggml.tokens"].([]string) {
		ids[piece] = id
	}
	if keys["tokenizer.ggml.add_space_prefix"].(bool) {
		text = " " + text
	}
	symbols := strings.Split(strings.ReplaceAll(text, " ", "▁"), "")
	for {
		at, best := -1, float32(math.Inf(-1))
		for i := range len(symbols) - 1 {
			if id, ok := ids[symbols[i]+symbols[i+1]]; ok && scores[id] > best {
				at, best = i, scores[id]
			}
		}
		if at < 0 {
			break
		}
		symbols[at] += symbols[at+1]
		symbols = slices.Delete(symbols, at+1, at+2)
	}
	var out []int
	for _, s := range symbols {
		if id, ok := ids[s]; ok {
			out = append(out, id)
			continue
		}
		for _, b := range []byte(s) {
			out = append(out, ids[fmt.Sprintf("<0x%02X>", b)])
		}
	}
	return out
}

// What the exported scores mean to llama.cpp gives the ids that it documents for
// these texts.
func TestScoresTokenize(t *testing.T) {
	got := keys(t, bare(t, sharedFile(t, "llama-spm", "tokenizer.json"), nil, 0))
	texts := strings.Split(strings.ReplaceAll(string(sharedFile(t, "llama-spm", "cases.inp")), "\r\n", "\n"), "\n__ggml_vocab_test__\n")
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(string(sharedFile(t, "llama-spm", "cases.out")), "\r\n", "\n"), "\n"), "\n")
	tested := 0
	for i, line := range lines {
		if texts[i] == "" {
			continue
		}
		var want []int
		for _, f := range strings.Fields(line) {
			id, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, id)
		}
		if ids := llamaEncode(got, texts[i]); !slices.Equal(ids, want) {
			t.Errorf("%q: %v, want %v", texts[i], ids, want)
		}
		tested++
	}
	if tested < 20 {
		t.Errorf("only %d texts", tested)
	}
}

// byteLevelFile is a small byte-level tokenizer; edit changes it.
func byteLevelFile(edit func(f map[string]any)) []byte {
	f := map[string]any{"normalizer": nil, "pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false}, "decoder": map[string]any{"type": "ByteLevel"},
		"added_tokens": []any{map[string]any{"id": 4, "content": "<end>", "special": true}, map[string]any{"id": 5, "content": "<b>"}},
		"model":        map[string]any{"type": "BPE", "vocab": map[string]int{"a": 0, "b": 1, "ab": 2, "abb": 3}, "merges": []string{"a b", "ab b"}}}
	edit(f)
	data, _ := json.Marshal(f) // plain values always marshal
	return data
}

// sentencePieceFile is a small SentencePiece tokenizer; edit changes it.
func sentencePieceFile(edit func(f, model map[string]any, vocab map[string]int)) []byte {
	vocab := map[string]int{"<unk>": 0}
	for b := range 256 {
		vocab[fmt.Sprintf("<0x%02X>", b)] = 1 + b
	}
	for i, piece := range []string{"▁", "a", "b", "ab", "▁a", "▁ab"} {
		vocab[piece] = 257 + i
	}
	m := map[string]any{"type": "BPE", "vocab": vocab, "unk_token": "<unk>", "byte_fallback": true, "merges": []string{"a b", "▁ a", "▁ ab", "▁a b"}}
	f := map[string]any{"normalizer": map[string]any{"type": "Sequence", "normalizers": []any{map[string]any{"type": "Prepend", "prepend": "▁"},
		map[string]any{"type": "Replace", "pattern": map[string]any{"String": " "}, "content": "▁"}}},
		"decoder": map[string]any{"type": "Sequence", "decoders": []any{map[string]any{"type": "ByteFallback"}}}, "model": m,
		"added_tokens": []any{map[string]any{"id": 0, "content": "<unk>", "special": true}}}
	edit(f, m, vocab)
	data, _ := json.Marshal(f) // plain values always marshal
	return data
}

func TestSmallVocabularies(t *testing.T) {
	ck := bare(t, byteLevelFile(func(map[string]any) {}), []byte(`{"eos_token":"<end>","bos_token":"<b>","pad_token":"<end>","add_bos_token":true,"add_eos_token":true}`), 8)
	ck.TemplateSource = "{{ x }}"
	got := keys(t, ck)
	for key, want := range map[string]any{"model": "gpt2", "pre": "gpt-2", "tokens": []string{"a", "b", "ab", "abb", "<end>", "<b>", "[PAD6]", "[PAD7]"},
		"token_type": []int32{1, 1, 1, 1, 3, 4, 5, 5}, "merges": []string{"a b", "ab b"}, "bos_token_id": uint32(5), "eos_token_id": uint32(4),
		"padding_token_id": uint32(4), "add_bos_token": true, "add_eos_token": true} {
		if !reflect.DeepEqual(got["tokenizer.ggml."+key], want) {
			t.Errorf("%s: %v, want %v", key, got["tokenizer.ggml."+key], want)
		}
	}
	if got["tokenizer.chat_template"] != "{{ x }}" {
		t.Errorf("chat template %v", got["tokenizer.chat_template"])
	}
	got = keys(t, bare(t, sentencePieceFile(func(_, _ map[string]any, _ map[string]int) {}), nil, 0))
	if scores := got["tokenizer.ggml.scores"].([]float32); !slices.Equal(scores[255:], []float32{0, 0, -3, -4, -5, 0, -1, -2}) {
		t.Errorf("scores %v", scores[255:])
	}
	if types := got["tokenizer.ggml.token_type"].([]int32); !slices.Equal([]int32{types[0], types[1], types[256], types[257]}, []int32{2, 6, 6, 1}) {
		t.Errorf("types %v", types)
	}
	if _, has := got["tokenizer.ggml.bos_token_id"]; has || got["tokenizer.ggml.add_space_prefix"] != true || got["tokenizer.ggml.unknown_token_id"] != uint32(0) {
		t.Errorf("keys %v", got)
	}
}

func TestVocabularyRefusals(t *testing.T) {
	spm := func(edit func(f, m map[string]any, vocab map[string]int)) []byte { return sentencePieceFile(edit) }
	for _, c := range []struct {
		name string
		file []byte
		rows int
		says string
	}{
		{"way to cut words", byteLevelFile(func(f map[string]any) { f["pre_tokenizer"] = map[string]any{"type": "WhitespaceSplit"} }), 0, "WhitespaceSplit"},
		{"normalizer", byteLevelFile(func(f map[string]any) { f["normalizer"] = map[string]any{"type": "Lowercase"} }), 0, "Lowercase"},
		{"too few rows", byteLevelFile(func(map[string]any) {}), 3, `"abb" has no row`},
		{"whole words", byteLevelFile(func(f map[string]any) {
			f["model"].(map[string]any)["ignore_merges"] = true
			f["model"].(map[string]any)["merges"] = []string{"a b"} // abb is reached by being a word alone
		}), 0, "it makes a difference"},
		{"two before a text", byteLevelFile(func(f map[string]any) {
			token := func(s string) any { return map[string]any{"SpecialToken": map[string]any{"id": s}} }
			f["post_processor"] = map[string]any{"type": "TemplateProcessing", "single": []any{token("<end>"), token("<b>"), map[string]any{"Sequence": map[string]any{"id": "A"}}},
				"special_tokens": map[string]any{"<end>": map[string]any{"ids": []int{4}}, "<b>": map[string]any{"ids": []int{5}}}}
		}), 0, "[4 5] before"},
		{"spaces", spm(func(f, _ map[string]any, _ map[string]int) { f["normalizer"] = nil }), 0, "treat spaces"},
		{"bytes", spm(func(_, m map[string]any, v map[string]int) { delete(v, "<0x41>") }), 0, "256 bytes"},
		{"unmerged words", spm(func(_, m map[string]any, _ map[string]int) { m["ignore_merges"] = true }), 0, "unmerged"},
		{"missing merge", spm(func(_, m map[string]any, _ map[string]int) { m["merges"] = []string{"a b", "▁ a", "▁ ab"} }), 0, `"▁a" and "b" do not merge`},
		{"scattered merges", spm(func(_, m map[string]any, _ map[string]int) {
			m["merges"] = []string{"a b", "▁ ab", "▁ a", "▁a b"}
		}), 0, "do not follow each other"},
		{"text twice", byteLevelFile(func(f map[string]any) {
			f["added_tokens"] = []any{map[string]any{"id": 4, "content": "[PAD5]", "special": true}}
		}), 6, `both "[PAD5]"`},
		{"marked pieces", byteLevelFile(func(f map[string]any) {
			f["model"].(map[string]any)["end_of_word_suffix"] = "</w>"
		}), 0, "marked by where in a word"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := vocabulary(bare(t, c.file, nil, c.rows))
			if !errors.Is(err, gguf.ErrLayout) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want it to say %q", err, c.says)
			}
		})
	}
	broken := &model.Checkpoint{TokenizerErr: tokenizer.ErrUnsupported}
	if _, _, err := vocabulary(broken); !errors.Is(err, tokenizer.ErrUnsupported) {
		t.Errorf("a tokenizer that cannot be read: %v", err)
	}
}

func TestVocabularyNotes(t *testing.T) {
	for _, c := range []struct {
		name string
		file []byte
		rows int
		says string
	}{
		{"left out", byteLevelFile(func(map[string]any) {}), 5, "1 added tokens"},
		{"NFC", byteLevelFile(func(f map[string]any) { f["normalizer"] = map[string]any{"type": "NFC"} }), 0, "NFC"},
		{"stripping", byteLevelFile(func(f map[string]any) {
			f["added_tokens"] = []any{map[string]any{"id": 4, "content": "<end>", "special": true, "rstrip": true}}
		}), 0, `"<end>"`},
		{"first", sentencePieceFile(func(f, _ map[string]any, _ map[string]int) {
			f["normalizer"] = nil
			f["pre_tokenizer"] = map[string]any{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}
		}), 0, "space"},
		// With every piece within reach of merges, looking words up first is the same.
		{"", byteLevelFile(func(f map[string]any) { f["model"].(map[string]any)["ignore_merges"] = true }), 0, ""},
	} {
		_, notes, err := vocabulary(bare(t, c.file, nil, c.rows))
		if err != nil || (len(notes) == 1) != (c.says != "") || len(notes) > 0 && !strings.Contains(notes[0], c.says) {
			t.Errorf("%s: notes %q (%v)", c.name, notes, err)
		}
	}
}
