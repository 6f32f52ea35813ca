package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
)

// mergesClasses say how the classes of transformers whose tokenizers are a vocab.json
// and a merges.txt cut texts into words, and how they normalize them.
var mergesClasses = map[string]struct{ pre, normalizer string }{
	"": {"gpt-2", ""}, "GPT2Tokenizer": {"gpt-2", ""}, "CodeGenTokenizer": {"gpt-2", ""}, "Qwen2Tokenizer": {"qwen2", "NFC"},
}

// MergesJSON returns the tokenizer.json of a tokenizer of GPT-2's kind, given as
// vocab.json, merges.txt and tokenizer_config.json, which may be nil; more are the
// tokens named beside them.
func MergesJSON(vocabJSON, mergesText, tokenizerConfigJSON []byte, more []AddedToken) ([]byte, error) {
	var cfg struct {
		Class          string    `json:"tokenizer_class"`
		AddPrefixSpace bool      `json:"add_prefix_space"`
		BOS            tokenName `json:"bos_token"`
		EOS            tokenName `json:"eos_token"`
		Unknown        tokenName `json:"unk_token"`
		Pad            tokenName `json:"pad_token"`
	}
	if len(tokenizerConfigJSON) > 0 {
		if err := json.Unmarshal(tokenizerConfigJSON, &cfg); err != nil {
			return nil, fmt.Errorf("%w: tokenizer_config.json: %v", ErrCorrupt, err)
		}
	}
	class, ok := mergesClasses[strings.TrimSuffix(cfg.Class, "Fast")]
	if !ok {
		return nil, fmt.Errorf("%w: vocab.json and merges.txt of the class %q", ErrUnsupported, cfg.Class)
	}
	var vocab map[string]int32
	if err := json.Unmarshal(vocabJSON, &vocab); err != nil {
		return nil, fmt.Errorf("%w: vocab.json: %v", ErrCorrupt, err)
	}
	merges := []string{}
	for line := range strings.Lines(string(mergesText)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" && !strings.HasPrefix(line, "#version") {
			merges = append(merges, line)
		}
	}
	added := append([]AddedToken{}, more...)
	for _, name := range []tokenName{cfg.BOS, cfg.EOS, cfg.Unknown, cfg.Pad} {
		if id, ok := vocab[string(name)]; ok {
			added = append(added, AddedToken{ID: id, Content: string(name), Special: true})
		}
	}
	pre, _ := preTokenizerNamed(class.pre)
	steps := pre.steps
	if cfg.AddPrefixSpace {
		steps = append([]string{`{"type":"ByteLevel","add_prefix_space":true,"use_regex":true}`}, steps[1:]...)
	}
	file := map[string]any{"version": "1.0", "added_tokens": added, "pre_tokenizer": sequence("pretokenizers", steps...), "decoder": json.RawMessage(byteLevelStep),
		"model": map[string]any{"type": "BPE", "vocab": vocab, "merges": merges}}
	if class.normalizer != "" {
		file["normalizer"] = map[string]any{"type": class.normalizer}
	}
	return json.Marshal(file)
}
