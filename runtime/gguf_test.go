package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
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

// What is exported gives the same logits, of every family that GGUF files can hold.
func TestExportedGGUF(t *testing.T) {
	eng, err := kernels.New(kernels.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ids := []int32{5, 17, 200, 4, 99, 31, 3, 250, 18, 77, 12, 9, 140, 6}
	logits := func(t *testing.T, ck *model.Checkpoint) []float32 {
		m, err := LoadFloat(context.Background(), eng, ck)
		if err != nil {
			t.Fatal(err)
		}
		return fixture{}.forward(t, m.NewExactSession(len(ids)), ids)
	}
	refs, _ := filepath.Glob(filepath.Join(fixtures, "*", "config.json"))
	for _, ref := range append(refs, "demo/config.json") {
		ref = filepath.Dir(ref)
		t.Run(filepath.Base(ref), func(t *testing.T) {
			if strings.HasPrefix(filepath.Base(ref), "int4_") {
				t.Skip("codes are another test's subject")
			}
			src, err := model.Open(ref)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			out := filepath.Join(t.TempDir(), "model.gguf")
			res, err := export.Run(context.Background(), export.Options{Source: src, Out: out, Type: export.Auto}, nil)
			if why, refused := notInGGUF[filepath.Base(ref)]; refused {
				if !errors.Is(err, export.ErrRefused) || !strings.Contains(err.Error(), why) {
					t.Errorf("not refused as %q: %v", why, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !res.Exact {
				t.Errorf("off by %g in %s", res.MaxAbsDiff, res.WorstName)
			}
			back, err := model.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			defer back.Close()
			got, want := logits(t, back), logits(t, src)
			worst, most := 0.0, 0.0
			for i, v := range want {
				worst, most = max(worst, math.Abs(float64(got[i]-v))), max(most, math.Abs(float64(v)))
			}
			if !(worst <= 2e-5*most) {
				t.Errorf("the logits differ by %.2g of %.2g", worst, most)
			}
		})
	}
}

// notInGGUF are models of which GGUF's keys do not say all.
var notInGGUF = map[string]string{"gpt_oss": "Rope.Frequencies", "gptj": "form in GGUF files is not known", "opt": "form in GGUF files is not known"}
