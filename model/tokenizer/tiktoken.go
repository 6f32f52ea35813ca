package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// tiktokenEncoding is what a file of ranks leaves to the program that reads it: how
// texts are cut into words, and the special tokens.
type tiktokenEncoding struct {
	names      []string // of files
	ranks      int      // how many tokens it has
	pre        string   // as [preTokenizers] has it
	normalizer string   // "" for none
	bos, eos   string
	special    func(ranks int) []string // by id, from the first after the ranks; "" for none
}

// tiktokenEncodings are those of models that have such files, from the code that the
// models come with.
var tiktokenEncodings = []tiktokenEncoding{
	{[]string{"gpt2", "r50k_base"}, 50256, "gpt-2", "", "", endOfText, listed(endOfText)},
	{[]string{"p50k_base", "p50k_edit"}, 50280, "gpt-2", "", "", endOfText, listed("", fimPrefix, fimMiddle, fimSuffix)},
	{[]string{"cl100k_base"}, 100256, "cl100k", "", "", endOfText, cl100kSpecial},
	{[]string{"o200k_base", "o200k_harmony"}, 199998, "gpt-4o", "", "<|startoftext|>", endOfText, harmonySpecial},
	{[]string{"qwen"}, 151643, "qwen2", "NFC", "", endOfText, qwenSpecial},
	{[]string{"llama3"}, 128000, "llama-bpe", "", "<|begin_of_text|>", "<|end_of_text|>", llama3Special},
	{[]string{"glm4"}, 151329, "glm4", "", "", endOfText, listed(endOfText, "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>", "<|assistant|>",
		"<|observation|>", "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>")},
	{[]string{"kimi"}, 163584, "kimi-k2", "", "[BOS]", "[EOS]", kimiSpecial},
}

const (
	endOfText = "<|endoftext|>"
	fimPrefix = "<|fim_prefix|>"
	fimMiddle = "<|fim_middle|>"
	fimSuffix = "<|fim_suffix|>"
)

func listed(tokens ...string) func(int) []string { return func(int) []string { return tokens } }

// numbered are tokens that differ by a number.
func numbered(prefix string, from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("<|%s%d|>", prefix, i))
	}
	return all
}

func cl100kSpecial(int) []string {
	all := append([]string{"", endOfText, fimPrefix, fimMiddle, fimSuffix}, make([]string, 15)...)
	return append(all, "<|endofprompt|>")
}

func harmonySpecial(ranks int) []string {
	all := append([]string{"<|startoftext|>", endOfText}, numbered("reserved_", ranks+2, 201088)...)
	for id, token := range map[int]string{200002: "<|return|>", 200003: "<|constrain|>", 200005: "<|channel|>", 200006: "<|start|>", 200007: "<|end|>",
		200008: "<|message|>", 200012: "<|call|>", 200018: "<|endofprompt|>"} {
		all[id-ranks] = token
	}
	return all
}

func qwenSpecial(int) []string {
	return append([]string{endOfText, "<|im_start|>", "<|im_end|>"}, numbered("extra_", 0, 205)...)
}

func llama3Special(int) []string {
	const reserved = "reserved_special_token_"
	return slices.Concat([]string{"<|begin_of_text|>", "<|end_of_text|>", "<|" + reserved + "0|>", "<|" + reserved + "1|>", "<|finetune_right_pad_id|>", "<|" + reserved + "2|>",
		"<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"}, numbered(reserved, 3, 248))
}

func kimiSpecial(ranks int) []string {
	all := numbered("reserved_token_", ranks, ranks+256)
	copy(all, []string{"[BOS]", "[EOS]"})
	return all
}

// IsTiktoken reports whether a file begins like one of tiktoken: a token in base64 and
// a number.
func IsTiktoken(data []byte) bool {
	line, _, _ := bytes.Cut(data[:min(len(data), 1<<12)], []byte("\n"))
	_, _, err := tiktokenLine(line)
	return err == nil
}

func tiktokenLine(line []byte) (token string, rank int, err error) {
	encoded, number, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\r")), []byte(" "))
	if !ok {
		return "", 0, fmt.Errorf("%q is no token and rank", line[:min(len(line), 64)])
	}
	data, err := base64.StdEncoding.AppendDecode(nil, encoded)
	if err != nil {
		return "", 0, err
	}
	rank, err = strconv.Atoi(string(number))
	return string(data), rank, err
}

// LoadTiktoken builds a tokenizer from a file of tiktoken (https://github.com/openai/tiktoken),
// whose name or size says which model's it is, and, if not nil, tokenizer_config.json;
// more are the tokens named beside it.
func LoadTiktoken(name string, data, tokenizerConfigJSON []byte, more []AddedToken) (*Tokenizer, error) {
	ids, err := tiktokenRanks(data)
	if err != nil {
		return nil, err
	}
	e, err := encodingOf(name, len(ids))
	if err != nil {
		return nil, err
	}
	cfg, err := parseConfig(tokenizerConfigJSON)
	if err != nil {
		return nil, err
	}
	t := newTokenizer(cfg)
	if e.normalizer != "" {
		c := &component{Type: e.normalizer}
		if t.normalize, err = newNormalizers(c); err != nil {
			return nil, err
		}
		t.normalizers = describe(c)
	}
	pre, _ := preTokenizerNamed(e.pre)
	for _, step := range pre.steps {
		c := &component{}
		if err := json.Unmarshal([]byte(step), c); err != nil {
			return nil, err
		}
		split, err := newSplitters(c)
		if err != nil {
			return nil, err
		}
		t.split, t.splitters = append(t.split, split...), append(t.splitters, describe(c)...)
	}
	t.mergeRanks(ids)
	taken := make(map[int32]bool)
	for _, a := range more {
		taken[a.ID] = true
	}
	for i, token := range e.special(len(ids)) {
		if id := int32(len(ids) + i); token != "" && !taken[id] {
			more = append(more, AddedToken{ID: id, Content: token, Special: true})
		}
	}
	if err := t.addTokens(more); err != nil {
		return nil, err
	}
	if t.decode, err = newDecoder(&component{Type: "ByteLevel"}); err != nil {
		return nil, err
	}
	t.kind = ByteLevelBPE
	if t.bosText == "" {
		t.bosText = e.bos
	}
	if t.eosText == "" {
		t.eosText = e.eos
	}
	t.findEnds()
	if t.bos >= 0 && pre.addBOS {
		t.prefix = []int32{t.bos}
	}
	t.applyConfig(cfg)
	return t, nil
}

// encodingOf finds the encoding of a file by its name, or by how many tokens it has.
func encodingOf(name string, ranks int) (tiktokenEncoding, error) {
	base, _, _ := strings.Cut(path.Base(name), ".")
	i := slices.IndexFunc(tiktokenEncodings, func(e tiktokenEncoding) bool { return slices.Contains(e.names, base) })
	if i < 0 {
		i = slices.IndexFunc(tiktokenEncodings, func(e tiktokenEncoding) bool { return e.ranks == ranks })
	}
	if i < 0 {
		return tiktokenEncoding{}, fmt.Errorf("%w: a tiktoken file of %d tokens, which does not say how texts are cut into words", ErrUnsupported, ranks)
	}
	return tiktokenEncodings[i], nil
}

// tiktokenRanks reads ids by token.
func tiktokenRanks(data []byte) (map[string]int32, error) {
	ids := make(map[string]int32)
	seen := make(map[int]bool)
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		token, rank, err := tiktokenLine(line)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %v", ErrCorrupt, len(ids)+1, err)
		}
		_, twice := ids[token]
		if token == "" || twice || seen[rank] || rank < 0 || rank >= maxID || len(token) > maxPiece {
			return nil, fmt.Errorf("%w: line %d: token %q of rank %d", ErrCorrupt, len(ids)+1, token[:min(len(token), 64)], rank)
		}
		ids[token], seen[rank] = int32(rank), true
	}
	for b := range 256 {
		if _, ok := ids[string([]byte{byte(b)})]; !ok {
			return nil, fmt.Errorf("%w: there is no token for the byte %d", ErrCorrupt, b)
		}
	}
	return ids, nil
}

// mergeRanks makes the merges: two tokens that spell a third may merge, and its rank
// says when.
func (t *Tokenizer) mergeRanks(ids map[string]int32) {
	b := &bpe{vocab: make(vocabulary, len(ids)), unknown: -1, ignoreMerges: true, merges: make(map[uint64]merge, 2*len(ids))}
	for token, id := range ids {
		b.vocab[spellBytes(token)] = id
		for cut := 1; cut < len(token); cut++ {
			left, ok := ids[token[:cut]]
			if !ok {
				continue
			}
			if right, ok := ids[token[cut:]]; ok {
				b.rules = append(b.rules, rule{left, right, id})
				b.merges[pairKey(left, right)] = newMerge(id, id)
			}
		}
	}
	slices.SortFunc(b.rules, func(x, y rule) int {
		return cmp.Or(cmp.Compare(x.id, y.id), cmp.Compare(x.left, y.left))
	})
	t.model, t.vocab = b, b.vocab
}
