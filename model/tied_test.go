package model

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// Which matrix is the output head, by what is stored and what tie_word_embeddings
// says.
func TestTiedHead(t *testing.T) {
	const embed, head = embedPath + ".weight", headPath + ".weight"
	// The demo's embedding again, as the head, its first element changed or not.
	another := func(first byte) func([]byte) []byte {
		return func(data []byte) []byte {
			n := binary.LittleEndian.Uint64(data)
			var h map[string]struct {
				Offsets []int `json:"data_offsets"`
				Shape   []int
				DType   string
			}
			if err := json.Unmarshal(data[8:8+n], &h); err != nil {
				t.Fatal(err)
			}
			e, at := h[embed], len(data)-8-int(n)
			copied := bytes.Clone(data[8+int(n):][e.Offsets[0]:e.Offsets[1]])
			copied[0] ^= first
			data = rewrite(func(h map[string]any) {
				h[head] = map[string]any{"dtype": e.DType, "shape": e.Shape, "data_offsets": []int{at, at + len(copied)}}
			})(data)
			return append(data, copied...)
		}
	}
	rename := rewrite(func(h map[string]any) { h[head] = h[embed]; delete(h, embed) })
	for name, c := range map[string]struct {
		tensors func([]byte) []byte
		flag    string
		tied    bool
		told    string
		refused string
	}{
		"one matrix":               {nil, "true", true, "", ""},
		"one matrix, not said":     {nil, "", true, "lm_head is not stored", ""},
		"one matrix, denied":       {nil, "false", true, "lm_head is not stored", ""},
		"one under its other name": {rename, "true", true, "", ""},
		"the head alone":           {rename, "false", false, "", embed},
		"two alike":                {another(0), "true", true, "", ""},
		"two":                      {another(1), "true", false, "lm_head is stored and differs", ""},
		"two, not tied":            {another(1), "false", false, "", ""},
		"two, not said":            {another(0), "", false, "", ""},
	} {
		change := map[string]func([]byte) []byte{"config.json": func(data []byte) []byte {
			var config map[string]any
			if err := json.Unmarshal(data, &config); err != nil {
				t.Fatal(err)
			}
			delete(config, "tie_word_embeddings")
			if c.flag != "" {
				config["tie_word_embeddings"] = c.flag == "true"
			}
			data, _ = json.Marshal(config)
			return data
		}}
		if c.tensors != nil {
			change["model.safetensors"] = c.tensors
		}
		ck, err := Open(directory(t, change))
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: %v, want %q", name, err, c.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		told := strings.Join(ck.Notes, "\n")
		if ck.Config.Tied != c.tied || c.told == "" && told != "" || !strings.Contains(told, c.told) {
			t.Errorf("%s: tied: %v, told %q", name, ck.Config.Tied, told)
		}
		// What is written says what it is, so that every reader takes the same head.
		out := filepath.Join(t.TempDir(), "out")
		w, err := Create(take(t, out), ck, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		again, err := Open(out)
		if err != nil || again.Config.Tied != c.tied || len(again.Notes) > 0 {
			t.Errorf("%s, written: tied: %v, told %q, %v", name, again.Config.Tied, again.Notes, err)
		}
		again.Close()
		ck.Close()
	}
}
