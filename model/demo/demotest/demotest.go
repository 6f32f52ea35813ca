// Package demotest makes smaller models of the demo, for tests that need real
// weights and a tokenizer but not all that the demo can.
package demotest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/model/demo"
)

// Short writes the demo without its layers from the given number on and returns the
// directory. What it says is poor; what is done to its matrices takes a fraction of
// the time.
func Short(t testing.TB, layers int) string {
	t.Helper()
	dir := t.TempDir()
	if err := WriteShort(dir, layers); err != nil {
		t.Fatal(err)
	}
	return dir
}

// WriteShort is Short into a directory, for tests' own processes.
func WriteShort(dir string, layers int) error {
	if err := os.CopyFS(dir, demo.Files); err != nil {
		return err
	}
	if err := shortenConfig(filepath.Join(dir, "config.json"), layers); err != nil {
		return err
	}
	return shortenWeights(filepath.Join(dir, "model.safetensors"), layers)
}

func shortenConfig(path string, layers int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return err
	}
	config["num_hidden_layers"] = layers
	if data, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// tensor is an entry of a safetensors header.
type tensor struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

func shortenWeights(path string, layers int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	start := 8 + int(binary.LittleEndian.Uint64(data))
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:start], &header); err != nil {
		return err
	}
	kept, weights := map[string]tensor{}, bytes.Buffer{}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		layer := -1
		if _, err := fmt.Sscanf(name, "model.layers.%d.", &layer); strings.HasPrefix(name, "__") || err == nil && layer >= layers {
			continue
		}
		var x tensor
		if err := json.Unmarshal(header[name], &x); err != nil {
			return err
		}
		begin := weights.Len()
		weights.Write(data[start+x.Offsets[0] : start+x.Offsets[1]])
		x.Offsets = [2]int{begin, weights.Len()}
		kept[name] = x
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return os.WriteFile(path, slices.Concat(out, text, weights.Bytes()), 0o644)
}
