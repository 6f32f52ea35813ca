package model

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/demo"
)

// directory writes the demo checkpoint's files, some of them changed or, when
// nil, left out.
func directory(t *testing.T, change map[string]func(data []byte) []byte) string {
	t.Helper()
	dir := t.TempDir()
	files, err := demo.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := demo.Files.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := change[f.Name()]; ok {
			if data = c(data); data == nil {
				continue
			}
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// rewrite returns the file with its header changed by f.
func rewrite(f func(header map[string]any)) func([]byte) []byte {
	return func(data []byte) []byte {
		n := binary.LittleEndian.Uint64(data)
		var header map[string]any
		if err := json.Unmarshal(data[8:8+n], &header); err != nil {
			panic(err)
		}
		f(header)
		text, err := json.Marshal(header)
		if err != nil {
			panic(err)
		}
		return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), data[8+n:]...)
	}
}

const norm = "model.norm.weight" // a tensor to spoil

func tensor(h map[string]any) map[string]any { return h[norm].(map[string]any) }

// config returns config.json with one value set, or removed when nil.
func config(key string, value any) func([]byte) []byte {
	return func(data []byte) []byte {
		var c map[string]any
		if err := json.Unmarshal(data, &c); err != nil {
			panic(err)
		}
		if c[key] = value; value == nil {
			delete(c, key)
		}
		out, err := json.Marshal(c)
		if err != nil {
			panic(err)
		}
		return out
	}
}

// Hostile and damaged directories are refused with the kind of failure and words
// that name the file or tensor.
func TestOpenRefuses(t *testing.T) {
	fixed := func(s string) func([]byte) []byte { return func([]byte) []byte { return []byte(s) } }
	gone := func([]byte) []byte { return nil }
	const weights, conf = "model.safetensors", "config.json"
	for name, c := range map[string]struct {
		file   string
		change func([]byte) []byte
		want   error
		says   string
	}{
		"no config":                {conf, gone, ErrNoConfig, "config.json"},
		"config is no JSON":        {conf, fixed("{"), ErrCorrupt, "config.json"},
		"another architecture":     {conf, config("architectures", []string{"BertModel"}), ErrArch, "BertModel"},
		"no layers":                {conf, config("num_hidden_layers", 0), ErrCorrupt, "num_hidden_layers"},
		"negative width":           {conf, config("hidden_size", -128), ErrCorrupt, "hidden_size"},
		"absurd vocabulary":        {conf, config("vocab_size", 1<<40), ErrCorrupt, "vocab_size"},
		"heads do not divide":      {conf, config("num_key_value_heads", 3), ErrCorrupt, "key-value heads"},
		"more layers than weights": {conf, config("num_hidden_layers", 6), ErrNotFound, "model.layers.5."},
		"another vocabulary":       {conf, config("vocab_size", 1000), ErrCorrupt, "embed_tokens"},
		"no weights":               {weights, gone, ErrNotFound, "model.safetensors"},
		"empty weights":            {weights, fixed(""), ErrTruncated, "model.safetensors"},
		"endless header":           {weights, fixed("\xff\xff\xff\xff\xff\xff\xff\x7f{}"), ErrCorrupt, "header"},
		"header cut":               {weights, func(b []byte) []byte { return b[:100] }, ErrTruncated, "header"},
		"data cut":                 {weights, func(b []byte) []byte { return b[:len(b)-10] }, ErrTruncated, "download it again"},
		"bytes too many":           {weights, func(b []byte) []byte { return append(b, 1, 2) }, ErrCorrupt, "follow the last tensor"},
		"header is a list":         {weights, fixed("\x02\x00\x00\x00\x00\x00\x00\x00[]"), ErrCorrupt, "JSON object"},
		"tensor missing":           {weights, rewrite(func(h map[string]any) { h["other"] = h[norm]; delete(h, norm) }), ErrNotFound, norm},
		"wrong shape":              {weights, rewrite(func(h map[string]any) { tensor(h)["shape"] = []int{2, 64} }), ErrCorrupt, norm},
		"shape beyond data":        {weights, rewrite(func(h map[string]any) { tensor(h)["shape"] = []int{1 << 20} }), ErrCorrupt, norm},
		"shape overflows":          {weights, rewrite(func(h map[string]any) { tensor(h)["shape"] = []int{1 << 32, 1 << 32} }), ErrCorrupt, norm},
		"negative shape":           {weights, rewrite(func(h map[string]any) { tensor(h)["shape"] = []int{-1, -128} }), ErrCorrupt, ""},
		"offsets reversed":         {weights, rewrite(func(h map[string]any) { tensor(h)["data_offsets"] = []int{256, 0} }), ErrCorrupt, norm},
		"negative offset":          {weights, rewrite(func(h map[string]any) { tensor(h)["data_offsets"] = []int{-256, 0} }), ErrCorrupt, ""},
		"offset beyond int64":      {weights, rewrite(func(h map[string]any) { tensor(h)["data_offsets"] = []float64{0, 1e300} }), ErrCorrupt, ""},
		"overlap":                  {weights, rewrite(func(h map[string]any) { tensor(h)["data_offsets"] = []int{0, 256} }), ErrCorrupt, "overlap or hole"},
		"unknown type":             {weights, rewrite(func(h map[string]any) { tensor(h)["dtype"] = "F7" }), nil, ""},
	} {
		dir := directory(t, map[string]func([]byte) []byte{c.file: c.change})
		ck, err := Open(dir)
		if err == nil {
			ck.Close()
			t.Errorf("%s: accepted", name)
			continue
		}
		if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: want %v and %q of %s, got: %v", name, c.want, c.says, dir, err)
		}
	}
}

// A copy in a directory is the demo model.
func TestOpenDirectory(t *testing.T) {
	ck, err := Open(directory(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	own, err := Open(demo.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if ck.Hash() != own.Hash() || ck.Params() != own.Params() || ck.Tokenizer == nil || ck.Template == nil {
		t.Errorf("%d parameters with hash %s; the demo has %d with %s", ck.Params(), ck.Hash(), own.Params(), own.Hash())
	}
}
