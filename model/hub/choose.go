package hub

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"nibble/model/source"
)

// The names of a model's files.
const (
	configName  = "config.json"
	weightsName = "model.safetensors"
	indexName   = "model.safetensors.index.json"
	maxIndex    = 64 << 20
)

// maxSmall bounds the files beside the weights.
const maxSmall = 256 << 20

// vocabularies are the files that a tokenizer is read from, one or another.
var vocabularies = []string{"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tiktoken.model", "qwen.tiktoken"}

// companions are the other small files that belong to a model.
var companions = []string{configName, "generation_config.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"chat_template.jinja", "chat_template.json", "quantize_config.json", "quant_config.json", "hf_quant_config.json", "recipe.json", "report.json"}

// small reports whether a file is one that belongs to a model beside its weights.
func small(name string) bool {
	return slices.Contains(companions, name) || slices.Contains(vocabularies, name) ||
		path.Dir(name) == "additional_chat_templates" && path.Ext(name) == ".jinja"
}

func find(files []File, name string) (File, bool) {
	i := slices.IndexFunc(files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return File{}, false
	}
	return files[i], true
}

// weightsExts are the ends of the names of weights, those that nibble does not read
// among them.
var weightsExts = []string{".bin", ".safetensors", ".pth", ".pt", ".onnx", ".h5", ".msgpack"}

// isDirectory reports whether files are a model of safetensors, not one of GGUF files
// with a config.json beside them.
func isDirectory(files []File) bool {
	has := func(name string) bool { _, ok := find(files, name); return ok }
	return has(configName) && (has(weightsName) || has(indexName) || len(ggufs(files)) == 0)
}

// chooseSmall picks what of a repository is needed before its weights, or why there
// is nothing that nibble reads.
func chooseSmall(files []File) (picked []File, err error) {
	_, single := find(files, weightsName)
	index, sharded := find(files, indexName)
	if !single && !sharded {
		var others []string
		for _, f := range files {
			if slices.Contains(weightsExts, path.Ext(f.Name)) && !strings.Contains(f.Name, "/") {
				others = append(others, f.Name)
			}
		}
		slices.Sort(others)
		if len(others) == 0 {
			return nil, fmt.Errorf("%w: neither %s nor a GGUF file is in the repository", ErrNoWeights, weightsName)
		}
		return nil, fmt.Errorf("%w: the repository has %s alone, and %s is needed", ErrNoWeights, some(others, 3), weightsName)
	}
	if _, ok := find(files, configName); !ok {
		return nil, fmt.Errorf("%w: the repository has no %s, which says what they are", ErrNoWeights, configName)
	}
	for _, f := range files {
		if small(f.Name) {
			picked = append(picked, f)
		}
	}
	if !single {
		picked = append(picked, index)
	}
	return picked, nil
}

// some joins the first names of a list.
func some(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// splitForm is the name of a part of a GGUF file.
var splitForm = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// gguf is a GGUF file of a repository, with all parts of a split one.
type gguf struct {
	name  string // without number and extension
	parts []File
	count int
}

// ggufs groups a repository's GGUF files. Those that complete another are left out.
func ggufs(files []File) (out []gguf) {
	for _, f := range files {
		base := strings.ToLower(path.Base(f.Name))
		if path.Ext(base) != ".gguf" || strings.HasPrefix(base, "mmproj") || strings.Contains(base, "imatrix") {
			continue
		}
		g := gguf{name: f.Name[:len(f.Name)-len(".gguf")], count: 1}
		if m := splitForm.FindStringSubmatch(f.Name); m != nil {
			g.name = m[1]
			g.count, _ = strconv.Atoi(m[3])
		}
		i := slices.IndexFunc(out, func(o gguf) bool { return o.name == g.name && o.count == g.count })
		if i < 0 {
			i = len(out)
			out = append(out, g)
		}
		out[i].parts = append(out[i].parts, f)
	}
	for _, g := range out {
		slices.SortFunc(g.parts, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(out, func(a, b gguf) int { return cmp.Compare(a.name, b.name) })
	return out
}

// quantForm finds how a file is quantized in its name.
var quantForm = regexp.MustCompile(`(?i)(?:^|[-._/])((?:UD-)?(?:I?Q\d+_[A-Z0-9]+(?:_[A-Z0-9]+)*|TQ\d_\d|F16|F32|BF16|MXFP4(?:_MOE)?|NVFP4))(?:$|[-._/])`)

// quant is how the name says that a file is quantized, "" if it does not.
func (g gguf) quant() string {
	if m := quantForm.FindStringSubmatch(g.name); m != nil {
		return strings.ToUpper(m[1])
	}
	return ""
}

// is reports whether a file is the one that is asked for: by its name, or by a word
// of it such as Q4_K_M.
func (g gguf) is(want string) bool {
	if slices.ContainsFunc(g.parts, func(f File) bool { return f.Name == want }) || g.name == want || g.name+".gguf" == want {
		return true
	}
	return strings.EqualFold(g.quant(), want) || strings.EqualFold(path.Base(g.name), want)
}

// preferred are chosen of several where nothing is asked for.
var preferred = []string{"Q4_K_M", "UD-Q4_K_XL", "Q4_K_S", "Q4_0", "IQ4_XS", "IQ4_NL", "MXFP4", "Q5_K_M", "Q6_K", "Q8_0"}

// fileNames are what a Ref calls some GGUF files of one repository: how they are
// quantized where that tells them apart.
func fileNames(list []gguf) (out []string) {
	for _, g := range list {
		name := g.quant()
		if name == "" || slices.ContainsFunc(list, func(o gguf) bool { return o.name != g.name && o.quant() == name }) {
			name = g.parts[0].Name
		}
		out = append(out, name)
	}
	return out
}

// chooseGGUF picks the file that is asked for, or the usual one. others are those
// that were not chosen where nothing is asked for.
func chooseGGUF(files []File, want string) (parts []File, others []string, err error) {
	all := ggufs(files)
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("%w: the repository has no GGUF file", ErrNoWeights)
	}
	var matching []gguf
	if want != "" {
		for _, g := range all {
			if g.is(want) {
				matching = append(matching, g)
			}
		}
		if len(matching) == 0 {
			return nil, nil, fmt.Errorf("%w: %s is none of its GGUF files; there are %s", ErrNotFound, source.Quote(want), some(fileNames(all), 30))
		}
	} else {
		for _, quant := range preferred {
			for _, g := range all {
				if g.quant() == quant {
					matching = append(matching, g)
				}
			}
			if len(matching) > 0 {
				break
			}
		}
		if len(matching) == 0 {
			matching = all
		}
		if len(all) > 1 {
			others = fileNames(all)
		}
	}
	if len(matching) > 1 {
		return nil, nil, fmt.Errorf("%w: more than one GGUF file may be meant; give one after a colon: %s", ErrNotFound, some(fileNames(matching), 30))
	}
	g := matching[0]
	if len(g.parts) != g.count || g.count > maxSplit {
		return nil, nil, fmt.Errorf("%w: of %s there are %d parts of %d", ErrNotFound, g.name, len(g.parts), g.count)
	}
	return g.parts, others, nil
}

// maxSplit bounds the parts of a file.
const maxSplit = 4096
