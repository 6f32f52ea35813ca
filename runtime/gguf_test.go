package runtime

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/export"
)

// GGUF files give the known logits: those of the directories beside them, or of the
// values that their blocks stand for.
func TestFamiliesFromGGUF(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(fixtures, "*", "*.gguf"))
	if len(files) == 0 {
		t.Skip("no fixtures in " + fixtures)
	}
	eng, err := kernels.New(kernels.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			ck, err := model.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer ck.Close()
			m, err := LoadFloat(context.Background(), eng, ck)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(filepath.Join(filepath.Dir(file), "expected.json"))
			var want fixture
			if err == nil {
				err = json.Unmarshal(data, &want)
			}
			if err != nil {
				t.Fatal(err)
			}
			want.check(t, "whole", want.forward(t, m.NewExactSession(len(want.IDs)), want.IDs), 0)
		})
	}
}

// What is exported gives the same logits.
func TestExportedGGUF(t *testing.T) {
	eng, err := kernels.New(kernels.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ids := []int32{5, 17, 300, 4, 99}
	logits := func(ck *model.Checkpoint) []float32 {
		m, err := LoadFloat(context.Background(), eng, ck)
		if err != nil {
			t.Fatal(err)
		}
		return fixture{}.forward(t, m.NewExactSession(len(ids)), ids)
	}
	demo, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer demo.Close()
	out := filepath.Join(t.TempDir(), "demo.gguf")
	if _, err := export.Run(context.Background(), export.Options{Source: demo, Out: out, Type: export.Auto}, nil); err != nil {
		t.Fatal(err)
	}
	back, err := model.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if !slices.Equal(logits(back), logits(demo)) {
		t.Error("the logits differ")
	}
}
