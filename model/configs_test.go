package model

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// configs holds config.json files of published models.
const configs = "../../shared/data/configs"

// published are their parameters in billions, of the language model alone where the
// model sees as well.
var published = map[string]float64{
	"HuggingFaceTB--SmolLM3-3B.partial": 3.08, "Mixtral-8x7B-v0.1": 46.7, "Qwen--Qwen2.5-VL-7B-Instruct": 7.62, "Qwen--Qwen3-0.6B": 0.596,
	"Qwen--Qwen3-1.7B": 1.72, "qwen3_1.7b": 1.72, "Qwen--Qwen3-235B-A22B": 235.1, "Qwen--Qwen3-235B-A22B-FP8": 235.1, "nvidia--Qwen3-235B-A22B-NVFP4": 235.1,
	"Qwen--Qwen3-30B-A3B-FP8": 30.5, "Qwen--Qwen3-32B-FP8": 32.8, "Qwen--Qwen3-8B": 8.19, "Qwen--Qwen3.5-27B": 26.9, "codellama_13b": 13.0,
	"codellama_7b": 6.74, "deepseek-ai--DeepSeek-R1": 671, "deepseek-ai--DeepSeek-V3": 671, "deepseek": 16.4, "deepseek_v2_lite": 15.7,
	"gemma2_27b": 27.2, "gemma2_2b": 2.61, "gemma3_1b_it": 1.0, "google--gemma-3-4b-it": 3.88, "google--gemma-4-26B-A4B": 25.2,
	"nvidia--Gemma-4-26B-A4B-NVFP4": 25.2, "gpt2": 0.124, "gpt_j": 6.05, "internlm2": 7.74, "llama2_70b": 69.0, "llama3_1_70b": 70.6,
	"llama3_1_8b": 8.03, "llama3_2_3b": 3.21, "meta-llama--Meta-Llama-3.1-70B": 70.6, "nvidia--Llama-3.1-70B-Instruct-FP8": 70.6,
	"microsoft--Phi-3-mini-128k-instruct": 3.82, "microsoft--Phi-3-mini-4k-instruct": 3.82, "phi-3_5": 3.82, "microsoft--Phi-4-mini-reasoning": 3.84,
	"ministral3_3b_2512": 3.43, "mistral_7b": 7.24, "moonshotai--Kimi-K2-Instruct": 1026, "olmo2_13b": 13.7, "olmo2_7b": 7.3,
	"openai--gpt-oss-120b": 116.8, "orion": 14.5, "phi-1_5": 1.42, "qwen": 1.84, "qwen2.5_3b": 3.09, "qwen2_7b": 7.62, "smollm2_135m": 0.135,
	"smollm_135m": 0.135, "smollm_1_7b": 1.71, "stablelm": 2.8, "tinyllama_1b_chat_v1.0": 1.1, "baichuan": 7.51, "zai-org--GLM-4.5V": 106,
	"MiniMaxAI--MiniMax-M2.7": 229,
}

// Every published config is described, with the parameters that its model is known
// to have, or is refused with the feature that is missing.
func TestPublishedConfigs(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(configs, "*.json"))
	if len(files) == 0 {
		t.Skip("no configs in " + configs)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		dir := t.TempDir()
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "config.json"), data, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, c, err := ReadConfig(dir)
		if err != nil {
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "the family ") {
				t.Errorf("%s: %v", name, err)
			}
			if published[name] != 0 {
				t.Errorf("%s is refused: %v", name, err)
			}
			continue
		}
		got := float64(c.Params()) / 1e9
		if want := published[name]; want != 0 && math.Abs(got/want-1) > 0.01 {
			t.Errorf("%s: %.4g billion parameters, want %.4g", name, got, want)
		}
	}
}

// A config alone is described, and what is wrong with it is told with its name.
func TestReadConfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	if _, _, err := ReadConfig(dir); !errors.Is(err, ErrNoConfig) {
		t.Errorf("an empty directory: %v", err)
	}
	for text, want := range map[string]error{`{"model_type": "llama"}`: ErrCorrupt, `{"model_type": "t5"}`: ErrUnsupported, `{"model_type": "x"}`: ErrArch, `{`: ErrCorrupt} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ReadConfig(dir); !errors.Is(err, want) || !strings.HasPrefix(err.Error(), path+": ") || strings.Count(err.Error(), want.Error()) != 1 {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	text := `{"model_type": "llama", "vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 3, "initializer_range": NaN}`
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	name, c, err := ReadConfig(dir)
	if err != nil || name != filepath.Base(dir) || c.Params() != 2*8*4+4*4*4+3*3*4+3*4 || !strings.Contains(string(c.Raw), `"initializer_range": null`) {
		t.Errorf("%s, %v, %d parameters, %s", name, err, c.Params(), c.Raw)
	}
	if _, err := Open(dir); !errors.Is(err, ErrNoWeights) {
		t.Errorf("without weights: %v", err)
	}
}
