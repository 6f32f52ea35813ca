package runtime

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/tokenizer"
)

// data returns a path under the project's folder of real inputs, and skips the
// test where there is none.
func data(t *testing.T, path string) string {
	t.Helper()
	p := filepath.Join("..", "..", "shared", "data", path)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("needs %s, which is not part of the project", path)
	}
	return p
}

func load(t *testing.T, ref string, o kernels.Options) *Model {
	t.Helper()
	ck, err := model.Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	eng, err := kernels.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eng.Close(); ck.Close() })
	m, err := Load(context.Background(), eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The greedy continuation that the original llama2.c program prints, on every
// instruction set.
func TestStories260K(t *testing.T) {
	dir := data(t, "models/stories260K")
	want, err := os.ReadFile(filepath.Join(dir, "expected_greedy.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, isa := range kernels.Supported() {
		t.Run(string(isa), func(t *testing.T) {
			m := load(t, dir, kernels.Options{ISA: isa})
			s := m.NewExactSession(0)
			res, err := m.Generate(context.Background(), s, []int32{1}, GenOptions{MaxTokens: 200}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimRight(res.Text, "\n"); got != strings.TrimRight(string(want), "\n") {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// The demo model's logits, computed in float64 from its BF16 weights.
func TestDemoLogits(t *testing.T) {
	raw, err := os.ReadFile("../model/demo/reference_logits.json")
	if err != nil {
		t.Fatal(err)
	}
	var ref struct {
		Cases []struct {
			Text   string    `json:"text"`
			IDs    []int32   `json:"ids"`
			Logits []float64 `json:"last_logits"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(raw, &ref); err != nil || len(ref.Cases) == 0 {
		t.Fatalf("reference_logits.json: %v, %d cases", err, len(ref.Cases))
	}
	for _, isa := range kernels.Supported() {
		t.Run(string(isa), func(t *testing.T) {
			m := load(t, "demo", kernels.Options{ISA: isa})
			for _, c := range ref.Cases {
				ids := m.Tok.Encode(c.Text, tokenizer.EncodeOptions{AddSpecial: true, ParseSpecial: true})
				if !equal(ids, c.IDs) {
					t.Errorf("%q: ids %v, want %v", c.Text, ids, c.IDs)
					continue
				}
				hidden, err := m.NewExactSession(0).Forward(context.Background(), ids)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]float32, m.Config.Vocab)
				m.Logits(m.Engine.NewActs(), got, hidden[len(hidden)-m.Config.Hidden:], 1)
				worst, top := 0.0, 0.0
				for i, w := range c.Logits {
					worst = max(worst, math.Abs(float64(got[i])-w))
					top = max(top, math.Abs(w))
				}
				// The reference is printed with five decimals.
				if rel := worst / top; !(rel < 1e-4) {
					t.Errorf("%q: logits are off by %g of the largest", c.Text, rel)
				}
			}
		})
	}
}

// Published families' tiny models, whose logits two other programs computed: the
// Llamas that nibble opens, quantized ones as the floats they stand for.
func TestKnownLogits(t *testing.T) {
	root := data(t, "arch")
	dirs, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(map[string]bool)
	for _, dir := range dirs {
		ck, err := model.Open(filepath.Join(root, dir.Name()))
		if err != nil {
			continue // a family or a layout that nibble does not read
		}
		opened[dir.Name()] = true
		t.Run(dir.Name(), func(t *testing.T) {
			defer ck.Close()
			checkKnown(t, ck, filepath.Join(root, dir.Name(), "expected.json"))
		})
	}
	if !opened["llama2"] || !opened["llama3"] {
		t.Errorf("of %s only %v were opened", root, opened)
	}
}

func checkKnown(t *testing.T, ck *model.Checkpoint, expected string) {
	raw, err := os.ReadFile(expected)
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		IDs       []int32     `json:"ids"`
		Positions []int       `json:"positions"`
		Logits    [][]float64 `json:"logits"`
		Argmax    []int32     `json:"argmax"`
		Deviation float64     `json:"logits_std"`
	}
	if err := json.Unmarshal(raw, &want); err != nil || len(want.Positions) == 0 || len(want.Argmax) != len(want.IDs) {
		t.Fatalf("%s: %v", expected, err)
	}
	eng, err := kernels.New(kernels.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	m, err := LoadFloat(context.Background(), eng, ck)
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := m.NewExactSession(len(want.IDs)).Forward(context.Background(), want.IDs)
	if err != nil {
		t.Fatal(err)
	}
	vocab := m.Config.Vocab
	got := make([]float32, len(want.IDs)*vocab)
	m.Logits(eng.NewActs(), got, hidden, len(want.IDs))
	for i, best := range want.Argmax {
		if at := argmax(got[i*vocab : (i+1)*vocab]); at != best {
			t.Errorf("after position %d token %d is the likeliest, want %d", i, at, best)
		}
	}
	for i, p := range want.Positions {
		for id, w := range want.Logits[i] {
			if d := math.Abs(float64(got[p*vocab+id]) - w); !(d < 1e-4*want.Deviation) {
				t.Fatalf("after position %d the logit of token %d is %g, want %g", p, id, got[p*vocab+id], w)
			}
		}
	}
}

func equal(a, b []int32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
