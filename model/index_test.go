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

// shard is a safetensors file of tensors of the demo.
func shard(t *testing.T, ck *Checkpoint, names []string) []byte {
	t.Helper()
	header, body := map[string]any{}, []byte{}
	for _, name := range names {
		s := ck.tensors[name]
		header[name] = map[string]any{"dtype": s.dtype, "shape": s.shape, "data_offsets": []int{len(body), len(body) + len(s.data)}}
		body = append(body, s.data...)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), body...)
}

// sharded is a directory with the demo in two shards, "a" and "b", and the index's
// weight_map.
func sharded(t *testing.T) (dir string, index map[string]string) {
	t.Helper()
	ck, err := Open(demo.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	dir, index = directory(t, nil), map[string]string{}
	names := ck.Names()
	half := len(names) / 2
	for file, part := range map[string][]string{"a": names[:half], "b": names[half:]} {
		for _, name := range part {
			index[name] = file
		}
		if err := os.WriteFile(filepath.Join(dir, file), shard(t, ck, part), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, weightsName)); err != nil {
		t.Fatal(err)
	}
	return dir, index
}

func TestIndex(t *testing.T) {
	copyFile := func(dir, from, to string) error {
		data, err := os.ReadFile(filepath.Join(dir, from))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, to), data, 0o644)
	}
	for name, c := range map[string]struct {
		change func(dir string, index map[string]string) error
		want   error
		says   string
	}{
		"as it should be":      {},
		"shard missing":        {func(dir string, _ map[string]string) error { return os.Remove(filepath.Join(dir, "b")) }, ErrNotFound, "/b: not found, though the index names it"},
		"tensor missing":       {func(_ string, index map[string]string) error { index["other"] = "a"; return nil }, ErrCorrupt, `"a" holds tensor "other"`},
		"other shard":          {func(_ string, index map[string]string) error { index[norm] = "a"; return nil }, nil, ""},
		"tensor not mentioned": {func(_ string, index map[string]string) error { delete(index, norm); return nil }, nil, ""},
		"tensor twice": {func(dir string, index map[string]string) error {
			index["model.embed_tokens.weight"] = "c"
			return copyFile(dir, "a", "c")
		}, ErrCorrupt, "appears twice"},
		"out of the directory": {func(_ string, index map[string]string) error { index[norm] = "../a"; return nil }, ErrCorrupt, "leaves the model directory"},
		"absolute":             {func(_ string, index map[string]string) error { index[norm] = "/etc/passwd"; return nil }, ErrCorrupt, "leaves"},
		"out and back in":      {func(_ string, index map[string]string) error { index[norm] = "a/../../b"; return nil }, ErrCorrupt, "leaves"},
		"no name":              {func(_ string, index map[string]string) error { index[norm] = ""; return nil }, ErrCorrupt, "in no file"},
		"a directory": {func(dir string, index map[string]string) error {
			index[norm] = "c"
			return os.Mkdir(filepath.Join(dir, "c"), 0o755)
		}, ErrCorrupt, "a directory"},
		"empty": {func(_ string, index map[string]string) error { clear(index); return nil }, ErrCorrupt, "no weight_map"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, index := sharded(t)
			if c.change != nil {
				if err := c.change(dir, index); err != nil {
					t.Fatal(err)
				}
			}
			data, err := json.Marshal(map[string]any{"weight_map": index})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, indexName), data, 0o644); err != nil {
				t.Fatal(err)
			}
			ck, err := Open(dir)
			if err == nil {
				defer ck.Close()
			}
			if c.says == "" && err != nil || c.says != "" && (!errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir)) {
				t.Errorf("%v, want %v and %q", err, c.want, c.says)
			}
		})
	}
}

// Beside a file with all weights an index has no say, as in transformers.
func TestIndexLeftBehind(t *testing.T) {
	dir := directory(t, nil)
	for _, index := range []string{`{"weight_map": {"` + norm + `": "model-00001-of-00002.safetensors"}}`, "{", ""} {
		if err := os.WriteFile(filepath.Join(dir, indexName), []byte(index), 0o644); err != nil {
			t.Fatal(err)
		}
		ck, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		ck.Close()
	}
}

func TestParseIndex(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"weight_map": {"a": "1", "b": "1"}}`:                true,
		`{"weight_map": {"a": "1", "a": "1"}}`:                true,
		`{"weight_map": {"a": "1", "a": "2"}}`:                false,
		`{"weight_map": {"a": 1}}`:                            false,
		`{"weight_map": [1]}`:                                 false,
		`{"weight_map": null}`:                                false,
		`{"metadata": {}}`:                                    false,
		`{"weight_map": {"a": "1"}} x`:                        false,
		`{"metadata": {"total_size": 1e400}, "weight_map":{}`: false,
		``: false,
	} {
		if index, err := parseIndex([]byte(text)); (err == nil) != ok || ok && index["a"] != "1" || !ok && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, %v", text, index, err)
		}
	}
}
