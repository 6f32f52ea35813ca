package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
)

// preTokenizer is a way to cut texts into words that GGUF files know by name
// (tokenizer.ggml.pre).
type preTokenizer struct {
	names        []string // the first is what is written
	ignoreMerges bool     // a word that is a token is that token
	addBOS       bool     // unless the file says otherwise
	steps        []string // as tokenizer.json has them

	visibleSpaces bool // pieces are text, a space is visible in them
	tiktoken      bool // GGUF files do not have it
}

// Patterns of several pre-tokenizers.
const (
	llama3Words   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen2Words    = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen35Words   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	gpt2Words     = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`
	upper         = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	lower         = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	upperNotHan   = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`
	lowerNotHan   = `[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]`
	casedWords    = `[^\r\n\p{L}\p{N}]?` + upper + `*` + lower + `+` + endings + `|[^\r\n\p{L}\p{N}]?` + upper + `+` + lower + `*` + endings
	casedRest     = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	gpt4oWords    = casedWords + `|\p{N}{1,3}` + casedRest
	tekkenWords   = `[^\r\n\p{L}\p{N}]?` + upper + `*` + lower + `+|[^\r\n\p{L}\p{N}]?` + upper + `+` + lower + `*|\p{N}` + casedRest
	endings       = `(?i:'s|'t|'re|'ve|'m|'ll|'d)?`
	ideographs    = `[一-龥ࠀ-一가-퟿]+`
	deepseekWords = `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+`
	bloomWords    = ` ?[^(\s|.,!?…。，、।۔،)]+`
)

// Steps of several pre-tokenizers.
const (
	byteAlphabetStep = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}`
	byteLevelStep    = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`
	digitsStep       = `{"type":"Digits","individual_digits":true}`
)

// splits are steps that cut out what each pattern matches, then turn bytes into
// their alphabet.
func splits(patterns ...string) []string {
	var steps []string
	for _, p := range patterns {
		quoted, _ := json.Marshal(p) //nolint:errchkjson // a string
		steps = append(steps, fmt.Sprintf(`{"type":"Split","pattern":{"Regex":%s},"behavior":"Isolated","invert":false}`, quoted))
	}
	return append(steps, byteAlphabetStep)
}

// preTokenizers are those of llama.cpp whose steps can be said in tokenizer.json's
// words.
var preTokenizers = []preTokenizer{
	{names: []string{"gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "mellum", "trillion", "granite-docling", "gigachat", "a.x-4.0", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de",
		"modern-bert", "jina-v1-en", "jina-v2-code", "roberta-bpe"},
		steps: []string{byteLevelStep}},
	{names: []string{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"}, ignoreMerges: true, addBOS: true, steps: splits(llama3Words)},
	{names: []string{"glm4", "glm5"}, ignoreMerges: true, steps: splits(llama3Words)},
	{names: []string{"dbrx", "smaug-bpe", "chatglm-bpe"}, steps: splits(llama3Words)},
	{names: []string{"minicpm5"}, ignoreMerges: true, steps: splits(`\p{N}{1,3}`, `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`)},
	{names: []string{"jais-2"}, steps: splits(`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s`)},
	{names: []string{"qwen2", "deepseek-r1-qwen", "kormo", "stablelm2", "megrez", "hunyuan", "grok-2", "f2llmv2", "solar-open"}, steps: splits(qwen2Words)},
	{names: []string{"qwen35"}, steps: splits(qwen35Words)},
	{names: []string{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"}, steps: []string{digitsStep, byteLevelStep}},
	{names: []string{"deepseek-llm"}, steps: splits(`[\r\n]`,
		`\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-`+"\u1f7d"+`ᾀ-ᾴᾶ-ᾼ`+"\u1fbe"+`ῂ-ῄῆ-ῌῐ-`+"\u1fd3"+`ῖ-`+"\u1fdb"+`ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ`+"\u2126"+`ℨ`+"\u212a"+`-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+`,
		`\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, ideographs, `\p{N}+`)},
	{names: []string{"deepseek-coder"}, steps: splits(`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, ideographs, `\p{N}`)},
	{names: []string{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, steps: splits(`\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, deepseekWords+`[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`)},
	{names: []string{"spark2_5"}, steps: splits(`\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, deepseekWords+`|[\r\n]|\s+(?!\S)|\s+`, `\p{N}`)},
	{names: []string{"afmoe"}, steps: splits(`\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`,
		`[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+`, deepseekWords+`[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`)},
	{names: []string{"falcon"}, steps: splits(`[\p{P}\$\+<=>\^~\|`+"`"+`]+`, gpt2Words, `[0-9][0-9][0-9]`)},
	{names: []string{"bloom", "poro-chat", "gpt3-finnish"}, steps: splits(bloomWords)},
	{names: []string{"viking"}, steps: splits(bloomWords, `\p{N}`)},
	{names: []string{"tekken"}, ignoreMerges: true, addBOS: true, steps: splits(tekkenWords)},
	{names: []string{"gpt-4o", "llama4", "minimax-m2", "kanana2", "talkie"}, steps: splits(gpt4oWords)},
	{names: []string{"tiny_aya", "cohere2moe"}, steps: splits(`\d{1,3}(?=(?:\d{3})*\b)`, gpt4oWords)},
	{names: []string{"youtu"}, ignoreMerges: true, steps: splits(`[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+`, casedWords+`|\p{N}`+casedRest)},
	{names: []string{"granite-embed-multi-97m"}, ignoreMerges: true, steps: splits(gpt4oWords)},
	{names: []string{"exaone-moe"}, steps: splits(`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+`)},
	{names: []string{"ufakzeka"}, steps: splits(`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`)},
	{names: []string{"laguna"}, steps: splits(`[^\n]+|\n+`, qwen2Words)},
	{names: []string{"superbpe"}, steps: splits(`\p{N}+`, `(?=(?:\d{3})+(?!\d))`)},
	{names: []string{"chameleon"}, addBOS: true, steps: splits(`<sentinel:[0-9]+>`, `IMGIMG[A-I]{1,4}Z`, `[\t\n]|    |  `, `\p{N}`, `[\p{P}!-/:-@\[-`+"`"+`{-~]`, gpt2Words)},
	{names: []string{"bailingmoe", "bailingmoe2", "llada-moe"}, steps: splits(`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`)},
	{names: []string{"seed-coder"}, steps: splits(`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+`)},
	{names: []string{"kimi-k2"}, steps: splits(`\p{Han}+|[^\r\n\p{L}\p{N}]?` + upperNotHan + `*` + lowerNotHan + `+` + endings + `|[^\r\n\p{L}\p{N}]?` + upperNotHan + `+` + lowerNotHan + `*` + endings +
		`|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`)},
	{names: []string{"cl100k"}, steps: splits(cl100kPattern), tiktoken: true},
	{names: []string{"gemma4", "granite-embed-multi-311m", "sarvam-moe"}, steps: splits(`[^\n]+|\n+`)[:1], visibleSpaces: true},
	{names: []string{"default"}, steps: splits(`[\p{P}\$\+<=>\^~\|]+`, gpt2Words, `\p{N}+`, `[0-9][0-9][0-9]`)},
}

// preTokenizerNamed finds a way to cut texts by its name.
func preTokenizerNamed(name string) (preTokenizer, bool) {
	i := slices.IndexFunc(preTokenizers, func(p preTokenizer) bool { return slices.Contains(p.names, name) })
	if i < 0 {
		return preTokenizer{}, false
	}
	return preTokenizers[i], true
}

// PreTokenizerNames lists the names that GGUF files may give to a way to cut texts
// into words, described as in [Vocabulary], and whether llama.cpp takes each to mean
// that a word that is a token is not merged. The first is to be preferred.
func PreTokenizerNames(splitters []string) (names []string, ignoreMerges []bool) {
	for _, p := range preTokenizers {
		var steps []string
		for _, s := range p.steps {
			var c component
			if json.Unmarshal([]byte(s), &c) == nil {
				steps = append(steps, describe(&c)...)
			}
		}
		if slices.Equal(steps, splitters) {
			names, ignoreMerges = append(names, p.names[0]), append(ignoreMerges, p.ignoreMerges)
		}
	}
	return names, ignoreMerges
}
