package export

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/model/gguf"
)

// A model's export has the tensors and the hyperparameters that llama.cpp's own
// conversion of it has.
func TestAsConverted(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "arch", "llama3")
	file, err := os.Open(filepath.Join(dir, "llama3.gguf"))
	if err != nil {
		t.Skip("needs arch/llama3, which is not part of the project")
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	want, err := gguf.Read(file, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	_, got := runTo(t, open(t, dir), "f32")
	if len(got.Tensors) != len(want.Tensors) {
		t.Errorf("%d tensors, want %d", len(got.Tensors), len(want.Tensors))
	}
	for _, x := range want.Tensors {
		_, values1 := values(t, got, x.Name)
		if _, values2 := values(t, want, x.Name); !slices.Equal(values1, values2) {
			t.Errorf("%s has other values", x.Name)
		}
	}
	for _, kv := range want.KVs {
		if mine, ok := got.Value(kv.Key); strings.HasPrefix(kv.Key, "llama.") && (!ok || mine != kv.Value) {
			t.Errorf("%s is %v, want %v", kv.Key, mine, kv.Value)
		}
	}
}
