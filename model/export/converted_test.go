package export

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nibble/model/gguf"
)

// A model's export has the tensors, the values and the keys that llama.cpp's own
// conversion of it has.
func TestAsConverted(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "arch", "*", "*.gguf"))
	if len(files) == 0 {
		t.Skip("the files are not part of the project")
	}
	for _, path := range files {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "config.json")); err != nil {
			continue // made of blocks alone
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
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
			_, got := runTo(t, open(t, filepath.Dir(path)), "f32")
			if len(got.Tensors) != len(want.Tensors) {
				t.Errorf("%d tensors, want %d", len(got.Tensors), len(want.Tensors))
			}
			for _, x := range want.Tensors {
				i := slices.IndexFunc(got.Tensors, func(y gguf.Tensor) bool { return y.Name == x.Name })
				if i < 0 {
					t.Errorf("%s is missing", x.Name)
					continue
				}
				if mine := got.Tensors[i]; !slices.Equal(mine.Dims, x.Dims) {
					t.Errorf("%s is %v, want %v", x.Name, mine.Dims, x.Dims)
					continue
				}
				_, values1 := values(t, got, x.Name)
				_, values2 := values(t, want, x.Name)
				for j, v := range values2 {
					if d := math.Abs(float64(values1[j] - v)); d > 1e-6*math.Abs(float64(v)) {
						t.Errorf("%s has other values: %g for %g", x.Name, values1[j], v)
						break
					}
				}
			}
			for _, kv := range want.KVs {
				if strings.HasPrefix(kv.Key, "general.") || strings.HasPrefix(kv.Key, "tokenizer.") || kv.Value == "none" || strings.HasSuffix(kv.Key, "sliding_window") && kv.Value == uint32(0) {
					continue
				}
				if mine, ok := got.Value(kv.Key); !ok || !reflect.DeepEqual(mine, kv.Value) {
					t.Errorf("%s is %v, want %v", kv.Key, mine, kv.Value)
				}
			}
		})
	}
}
