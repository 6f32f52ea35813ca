package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/demo"
)

// nibble runs the command line and returns the exit code, stdout and stderr.
func nibble(stdin string, args ...string) (int, string, string) {
	var out, err bytes.Buffer
	a := newApp(strings.NewReader(stdin), &out, &err)
	code := a.main(args)
	return code, out.String(), err.String()
}

// demoDir writes the demo model to a directory, changed by f.
func demoDir(t *testing.T, f func(weights []byte)) string {
	t.Helper()
	dir := t.TempDir()
	files, err := demo.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := demo.Files.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file.Name(), ".safetensors") {
			f(data[8+binary.LittleEndian.Uint64(data):])
		}
		if err := os.WriteFile(filepath.Join(dir, file.Name()), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestMistakes(t *testing.T) {
	broken := demoDir(t, func(w []byte) { binary.LittleEndian.PutUint16(w, 0x7fc0) }) // a NaN in BF16, first of a tensor
	empty, full := t.TempDir(), filepath.Join(t.TempDir(), "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	endless := filepath.Join(t.TempDir(), "r.json")
	if err := os.Symlink(os.DevNull, endless); err != nil {
		t.Skip(err)
	}
	named := t.TempDir()
	if err := os.WriteFile(filepath.Join(named, "config.json"), []byte(`{"architectures": ["`+strings.Repeat("A", 1000000)+`"]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string // on stderr
	}{
		{[]string{"tune", "demo", "-o", filepath.Join(empty, "q"), "--budget", "0s"}, ExitUsage, "above 0"},
		{[]string{"tune", "demo", "-o", filepath.Join(empty, "q"), "--trials", "0"}, ExitUsage, "at least 1"},
		{[]string{"tune", "demo", "-o", filepath.Join(empty, "q"), "--text", "-"}, ExitUsage, "standard input is gone"},
		{[]string{"eval", "demo", "--text", os.DevNull}, ExitFailed, "a device: give a file, or - for standard input"},
		{[]string{"eval", "demo", "--text", "-"}, ExitFailed, "it is empty"},
		{[]string{"eval", "demo", "--task", os.DevNull}, ExitFailed, "a device"},
		{[]string{"quantize", "demo", "-o", filepath.Join(empty, "q"), "--recipe", "q4-gptq", "--calib", empty}, ExitFailed, "a directory"},
		{[]string{"quantize", "demo", "-o", filepath.Join(empty, "q"), "--recipe", endless}, ExitUsage, "a device"},
		{[]string{"info", named}, ExitFailed, "(1000000 bytes)"},
		{[]string{"foo"}, ExitUsage, `"foo" is neither a command nor a model`},
		{[]string{}, ExitUsage, "needs a terminal"},
		{[]string{"info"}, ExitUsage, "takes one argument: MODEL, got 0"},
		{[]string{"info", "a", "b"}, ExitUsage, "got 2"},
		{[]string{"info", "no/such/model"}, ExitFailed, "no/such/model"},
		{[]string{"info", empty}, ExitFailed, "config.json"},
		{[]string{"bench", "demo", "-p", "x"}, ExitUsage, `"x" for "-p, --prefill" flag: it must be a number`},
		{[]string{"bench", "demo", "--reps", "0"}, ExitUsage, "--reps at least 1"},
		{[]string{"bench", "demo", "--threads", "-1"}, ExitUsage, "--threads -1"},
		{[]string{"run", "demo", " "}, ExitUsage, "the prompt is empty"},
		{[]string{"run", "demo", "hi", "--temp", "-1"}, ExitUsage, "temp"},
		{[]string{"run", "demo"}, ExitUsage, "no prompt"},
		{[]string{"run", "demo", "hi", "-p", "hi"}, ExitUsage, "given twice"},
		{[]string{"run", "demo", "hi", "--seed", "-2"}, ExitUsage, "--seed -2"},
		{[]string{"run", broken, "hi", "-n", "3"}, ExitFailed, "tensor "},
		{[]string{"eval", broken}, ExitFailed, "tensor "},
		{[]string{"eval", "demo", "--goal", "x"}, ExitUsage, "--goal"},
		{[]string{"eval", "demo", "--goal", "5"}, ExitUsage, "5% or 500%"},
		{[]string{"eval", "demo", "--ctx", "3"}, ExitUsage, "\"--ctx\" flag: it must be at least 4"},
		{[]string{"eval", "demo", "--chunks", "-1"}, ExitUsage, "\"--chunks\" flag: it must be at least 0"},
		{[]string{"tune", "demo", "-o", full, "--goal", "1"}, ExitUsage, "1% or 100%"},
		{[]string{"tune", "demo", "-o", full, "--bpw", "inf"}, ExitUsage, "\"--bpw\" flag"},
		{[]string{"tune", "demo", "-o", full, "--min-tps", "nan"}, ExitUsage, "\"--min-tps\" flag"},
		{[]string{"tune", "demo", "-o", full, "--size", "-5MB"}, ExitUsage, "--size"},
		{[]string{"tune", "demo", "-o", full, "--max-rss", "infGB"}, ExitUsage, "--max-rss"},
		{[]string{"tune", "demo", "-o", full, "--budget", "0s"}, ExitUsage, "a time above 0"},
		{[]string{"tune", "demo", "-o", full, "--budget", "-1m"}, ExitUsage, "a time above 0"},
		{[]string{"tune", "demo", "-o", full, "--trials", "-1"}, ExitUsage, "\"--trials\" flag"},
		{[]string{"quantize", broken, "-o", filepath.Join(empty, "q")}, ExitFailed, "tensor "},
		{[]string{"quantize", "demo"}, ExitUsage, "-o DIR"},
		{[]string{"quantize", "demo", "-o", full}, ExitFailed, "not empty"},
		{[]string{"quantize", "demo", "-o", filepath.Join(empty, "q"), "--recipe", "w5"}, ExitUsage, "5 bits"},
		{[]string{"quantize", "demo", "-o", filepath.Join(empty, "q"), "--calib", "x.txt"}, ExitUsage, "--calib has no use"},
		{[]string{"quantize", "demo", "-o", filepath.Join(empty, "q"), "--recipe", "q4-gptq", "--calib", "no/such.txt"}, ExitFailed, "no/such.txt"},
		{[]string{"quantize", "demo", "-o", filepath.Join(empty, "q"), "--recipe", "q4-gptq", "--samples", "-1"}, ExitUsage, "\"--samples\" flag: it must be at least 1"},
		{[]string{"quantize", "demo", "-o", filepath.Join(empty, "q"), "--recipe", "q4-gptq", "--samples", "0"}, ExitUsage, "at least 1"},
		{[]string{"quantize", "demo", "-o", filepath.Join(empty, "q"), "--recipe", "q4-gptq", "--samples", "many"}, ExitUsage, "it must be a number"},
		{[]string{"plan", "demo", "--recipe", "q4-gptq", "--samples", "-1"}, ExitUsage, "at least 1"},
		{[]string{"plan", "demo", "--recipe", "q4-gptq", "--length", "1"}, ExitUsage, "at least 2"},
		{[]string{"plan", "demo", "--recipe", "q4-gptq", "--calib", "no/such.txt"}, ExitFailed, "no/such.txt"},
		{[]string{"plan", "demo", "--calib", "x.txt"}, ExitUsage, "--calib has no use"},
		{[]string{"tune", "demo", "-o", filepath.Join(empty, "q"), "--samples", "0"}, ExitUsage, "at least 1"},
		{[]string{"runs", "show", "no-such-run"}, ExitFailed, "no-such-run"},
	} {
		code, out, errs := nibble("", c.args...)
		if code != c.code || !strings.Contains(errs, c.says) || strings.Contains(errs, "strconv") {
			t.Errorf("nibble %s: code %d, want %d and %q:\n%s%s", strings.Join(c.args, " "), code, c.code, c.says, out, errs)
		}
		if _, err := os.Stat(filepath.Join(empty, "q")); err == nil {
			t.Fatalf("nibble %s left something behind", strings.Join(c.args, " "))
		}
		// The same mistake as JSON: one object, the error.
		code, out, _ = nibble("", append(c.args, "--json")...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		var last struct{ Type, Error string }
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); code != c.code || err != nil || last.Type != "error" || last.Error == "" {
			t.Errorf("nibble %s --json: code %d, %v: %s", strings.Join(c.args, " "), code, err, out)
		}
	}
}

// Whoever evaluates with the text that a model was calibrated with is told, in the
// text, in JSON and in the report.
func TestEvalOnCalibrationText(t *testing.T) {
	dir := t.TempDir()
	text, int4, made := filepath.Join(dir, "some.txt"), filepath.Join(dir, "int4"), filepath.Join(dir, "report")
	if err := os.WriteFile(text, demo.CalibText()[:8000], 0o644); err != nil {
		t.Fatal(err)
	}
	const note = "the text is the calibration's as well"
	run := func(args ...string) string {
		t.Helper()
		code, out, errs := nibble("", args...)
		if code != ExitOK {
			t.Fatalf("nibble %s: code %d\n%s%s", strings.Join(args, " "), code, out, errs)
		}
		return out
	}
	if out := run("quantize", "demo", "-o", int4, "--recipe", "q4-gptq", "--calib", text, "--samples", "1", "--length", "64"); !strings.Contains(out, "than the calibration has tokens, 64") {
		t.Errorf("few tokens are not told of:\n%s", out)
	}
	if out := run("plan", "demo", "--recipe", "q4-gptq", "--samples", "1", "--length", "64", "--json"); !strings.Contains(out, "than the calibration has tokens, 64") {
		t.Errorf("the plan does not tell of few tokens:\n%s", out)
	}
	base := []string{"eval", int4, "--base", "demo", "--ctx", "64", "--chunks", "2"}
	if out := run(append(base, "--text", text)...); !strings.Contains(out, note) {
		t.Errorf("no note in\n%s", out)
	}
	if out := run(append(base, "--text", text, "--json", "--report", made)...); !strings.Contains(out, note) {
		t.Errorf("no note in\n%s", out)
	}
	if data, err := os.ReadFile(filepath.Join(made, "report.md")); err != nil || !strings.Contains(string(data), note) {
		t.Errorf("no note in the report (%v)", err)
	}
	if out := run(base...); strings.Contains(out, "calibration's") {
		t.Errorf("a note about another text:\n%s", out)
	}
}

// Every command's result, as text and as JSON.
func TestCommands(t *testing.T) {
	int4, alone := filepath.Join(t.TempDir(), "int4"), t.TempDir()
	config := `{"model_type": "qwen3_moe", "vocab_size": 80, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16,
		"intermediate_size": 64, "moe_intermediate_size": 20, "num_experts": 5, "num_experts_per_tok": 2, "mlp_only_layers": [0], "use_sliding_window": true, "sliding_window": 8}`
	if err := os.WriteFile(filepath.Join(alone, "config.json"), []byte(config), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		stdin string
		args  []string
		text  []string // in the text
		keys  []string // of the JSON result
	}{
		{"", []string{"info", "demo"}, []string{"LlamaForCausalLM"}, []string{"arch", "params"}},
		{"", []string{"info", alone}, []string{"weights        none", "layers         3,", "5 in 2 layers, 2 for each token", "6 heads of 16, 2 key-value heads, a window of 8 in 3", "384 B for each token"},
			[]string{"weights", "params", "kv_bytes_per_token", "experts", "experts_per_token", "window", "layers_with_attention"}},
		{"", []string{"plan", "demo", "--recipe", "q4-gptq"}, []string{"w4 g32 sym gptq", "peak memory"}, []string{"size_bytes", "bpw", "seconds"}},
		{"", []string{"quantize", "demo", "-o", int4, "--recipe", "q4-gptq", "--samples", "2", "--length", "64"}, []string{"calibrated      2 samples of 64 tokens"}, []string{"path", "size_bytes"}},
		{"", []string{"info", int4}, []string{"quantized      yes"}, []string{"arch"}},
		{"", []string{"run", "demo", " \r\n", "--raw", "-n", "2", "--temp", "0"}, nil, []string{"text", "tokens"}},
		{"", []string{"run", int4, "Hello", "-n", "4", "--temp", "0"}, nil, []string{"text", "tokens"}},
		{"", []string{"run", "demo", "-p", "Hello", "-n", "4", "--temp", "0"}, nil, []string{"text", "tokens", "seed"}},
		{"Hello", []string{"run", "demo", "-", "-n", "4", "--temp", "0"}, nil, []string{"text", "tokens"}},
		{"", []string{"bench", int4, "-p", "8", "-n", "4", "--reps", "1"}, []string{"prefill", "decode", "GB/s of weights"}, []string{"prefill_tps", "decode_tps", "token_bytes"}},
	} {
		for _, asJSON := range []bool{false, true} {
			if c.args[0] == "quantize" {
				os.RemoveAll(int4)
			}
			args := c.args
			if asJSON {
				args = append([]string{"--json"}, args...)
			}
			code, out, errs := nibble(c.stdin, args...)
			if code != ExitOK {
				t.Fatalf("nibble %s: code %d\n%s%s", strings.Join(args, " "), code, out, errs)
			}
			if !asJSON {
				for _, want := range c.text {
					if !strings.Contains(out, want) {
						t.Errorf("nibble %s: no %q in\n%s", strings.Join(args, " "), want, out)
					}
				}
				continue
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			var last map[string]any
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last["type"] != "result" {
				t.Fatalf("nibble %s: last line %q, %v", strings.Join(args, " "), lines[len(lines)-1], err)
			}
			for _, key := range c.keys {
				if _, ok := last[key]; !ok {
					t.Errorf("nibble %s: no %q in %s", strings.Join(args, " "), key, lines[len(lines)-1])
				}
			}
		}
	}
}
