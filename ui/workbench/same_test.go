package workbench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/model/demo"
	"nibble/ui/cli"
	"nibble/ui/job"
	"nibble/ui/workbench"
)

// nibble runs a command and reads its result.
func nibble(t *testing.T, result any, args ...string) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	stdout := os.Stdout
	os.Stdout = out
	code := cli.Main(append(args, "--json"))
	os.Stdout = stdout
	data, err := os.ReadFile(out.Name())
	if err != nil || code != 0 {
		t.Fatalf("nibble %s: %d, %v, %s", strings.Join(args, " "), code, err, data)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), result); err != nil {
		t.Fatal(err)
	}
}

// The same request has the same answer on the command line and in the workbench: the
// text of a model whose generation_config.json has wishes of its own, the bytes of a
// quantized model, and what it loses.
func TestSameAnswers(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, demo.Files); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(`{"do_sample": true, "temperature": 1.5, "top_k": 3, "top_p": 0.9, "repetition_penalty": 1.1, "max_new_tokens": 20}`), 0o600); err != nil {
		t.Fatal(err)
	}
	w := workbench.NewJobs(t, dir)

	var said struct{ Text string }
	nibble(t, &said, "run", dir, "Tell me a story.", "--seed", "7")
	seed := uint64(7)
	if got := w.Answer("Tell me a story.", job.Generation{Seed: &seed}); got != said.Text || got == "" {
		t.Errorf("the workbench answers %q, the command %q", got, said.Text)
	}

	one, other := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "other")
	recipe := "w4 g32 sym gptq; lm_head w8"
	var made struct{ Path string }
	nibble(t, &made, "quantize", dir, "-o", one, "--recipe", recipe, "--samples", "4", "--length", "64")
	tasks := filepath.Join(t.TempDir(), "sums.jsonl")
	var questions strings.Builder
	for i := range 20 {
		fmt.Fprintf(&questions, `{"task": "sums", "context": "What is %d + 3?", "choices": [" %d", " %d"], "gold": 0}`+"\n", i, i+3, i+4)
	}
	if err := os.WriteFile(tasks, []byte(questions.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var lost struct {
		PPL   float64 `json:"ppl"`
		KLD   float64 `json:"kld_mean"`
		Tasks []struct{ Acc float64 }
	}
	nibble(t, &lost, "eval", one, "--base", dir, "--chunks", "3", "--task", tasks)
	ppl, kld, right := w.Quantize(job.Quantize{Recipe: recipe, Out: other, Calibration: job.Calibration{Samples: 4, Length: 64}}, job.Evaluate{Chunks: 3, Tasks: []string{tasks}})
	if !bytes.Equal(read(t, one), read(t, other)) {
		t.Error("the models differ")
	}
	var acc []float64
	for _, x := range lost.Tasks {
		acc = append(acc, x.Acc)
	}
	if ppl != lost.PPL || kld != lost.KLD || !slices.Equal(right, acc) || len(acc) == 0 {
		t.Errorf("the workbench measures %g, %g, %g; the command %+v", ppl, kld, right, lost)
	}
}

func read(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
