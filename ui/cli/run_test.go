package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ran is a result of run.
type ran struct {
	Text         string
	PromptTokens int `json:"prompt_tokens"`
	Tokens       int
	StopReason   string `json:"stop_reason"`
	Seed         uint64
	Notes        []string
}

func run(t *testing.T, args ...string) ran {
	t.Helper()
	code, out, errs := nibble("", append([]string{"run", "--json"}, args...)...)
	var r ran
	if err := json.Unmarshal([]byte(out), &r); code != ExitOK || err != nil {
		t.Fatalf("nibble run %s: code %d, %v\n%s%s", strings.Join(args, " "), code, err, out, errs)
	}
	for _, n := range r.Notes {
		if !strings.Contains(errs, "note: ") {
			t.Errorf("nibble run %s: %q is not on stderr", strings.Join(args, " "), n)
		}
	}
	return r
}

// What generation_config.json says is what the flags say.
func TestRunObeysTheFile(t *testing.T) {
	dir := demoDir(t, func([]byte) {})
	for file, flags := range map[string][]string{
		`"do_sample": false`:                                      {"--temp", "0"},
		`"temperature": 1.3, "top_p": 0.8`:                        {"--temp", "1.3", "--top-p", "0.8"},
		`"top_k": 3.0, "temperature": 2`:                          {"--temp", "2", "--top-k", "3"},
		`"min_p": 0.3, "temperature": 2, "top_p": 1`:              {"--temp", "2", "--min-p", "0.3", "--top-p", "1"},
		`"repetition_penalty": 1.5, "temperature": 0.1`:           {"--temp", "0.1", "--repeat-penalty", "1.5"},
		`"stop_strings": [" the"]`:                                {"--stop", " the"},
		`"max_new_tokens": 5`:                                     {"-n", "5"},
		`"temperature": "hot", "top_k": "x", "top_p": {}, "x": 1`: {"--temp", "0.7", "--top-p", "0.9"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(`{"eos_token_id": [1023, 1021], `+file+`}`), 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{"Tell me a story about a dog named Max.", "--seed", "3"}
		got, want := run(t, append([]string{dir}, args...)...), run(t, slices.Concat([]string{"demo"}, args, flags)...)
		if got.Text != want.Text || got.StopReason != want.StopReason {
			t.Errorf("%s: %+v\nnot as %v: %+v", file, got, flags, want)
		}
		if told := len(got.Notes); told != 4*strings.Count(file, "hot") && !strings.Contains(file, "do_sample") {
			t.Errorf("%s: %q", file, got.Notes)
		}
	}
}

// Flags win over the file, and a file that is none blocks nothing.
func TestRunFlagsWin(t *testing.T) {
	dir := demoDir(t, func([]byte) {})
	file := filepath.Join(dir, "generation_config.json")
	if err := os.WriteFile(file, []byte(`{"do_sample": false, "max_length": 30, "eos_token_id": [1023, 1021]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	a, b := run(t, dir, "Tell me a story.", "--temp", "2", "--seed", "1", "-n", "20"), run(t, dir, "Tell me a story.", "--temp", "2", "--seed", "2", "-n", "20")
	if a.Text == b.Text || a.Tokens != 20 {
		t.Errorf("--temp 2 and -n 20 give %+v and %+v", a, b)
	}
	if r := run(t, dir, "Tell me a story."); r.PromptTokens+r.Tokens != 30 || r.StopReason != "length" {
		t.Errorf("max_length 30: %+v", r)
	}
	if err := os.WriteFile(file, []byte(`{"do_sample": fal`), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := run(t, dir, "Hello", "-n", "2"); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "generation_config.json cannot be read") {
		t.Errorf("a broken file: %q", r.Notes)
	}
	for _, args := range [][]string{{"info", dir}, {"plan", dir}, {"quantize", dir, "-o", filepath.Join(t.TempDir(), "q"), "--recipe", "w4 g32 sym rtn"}} {
		if code, out, errs := nibble("", args...); code != ExitOK {
			t.Errorf("nibble %v with a broken generation_config.json: code %d\n%s%s", args, code, out, errs)
		} else if args[0] == "info" && !strings.Contains(out, "generation_config.json cannot be read") {
			t.Errorf("info does not tell:\n%s", out)
		}
	}
}

// Without --seed every text is another one, and its seed gives it again.
func TestRunSeeds(t *testing.T) {
	args := []string{"demo", "Tell me a story.", "--temp", "2", "-n", "12"}
	a, b := run(t, args...), run(t, append(args, "--seed", "-1")...)
	if a.Seed == b.Seed || a.Text == b.Text {
		t.Errorf("two random texts: %+v and %+v", a, b)
	}
	_, out, errs := nibble("", append([]string{"run"}, append(args, "--seed", "77")...)...)
	if again := run(t, append(args, "--seed", "77")...); again.Seed != 77 || again.Text != out || !strings.Contains(errs, "seed 77") {
		t.Errorf("seed 77 gives %q and %+v\n%s", out, again, errs)
	}
}

// What a checkpoint's files say and is not done is told by every command that opens
// it, on stderr and in the result.
func TestCheckpointNotes(t *testing.T) {
	dir := demoDir(t, func([]byte) {})
	file := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), `"tie_word_embeddings": true`, `"tie_word_embeddings": false`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(`[1]`), 0o644); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("Once upon a time there was a dog. ", 30)), 0o644); err != nil {
		t.Fatal(err)
	}
	const note = "lm_head is not stored"
	for _, args := range [][]string{{"info", dir}, {"plan", dir}, {"run", dir, "hi", "-n", "1"}, {"eval", dir, "--chunks", "1", "--ctx", "32", "--text", text}} {
		code, out, errs := nibble("", append(args, "--json")...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		var last struct{ Notes []string }
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); code != ExitOK || err != nil || !strings.Contains(strings.Join(last.Notes, "\n"), note) {
			t.Errorf("nibble %v: code %d, %v, notes %q", args, code, err, last.Notes)
		}
		if _, out, plain := nibble("", args...); strings.Count(out+plain, note) != 1 {
			t.Errorf("nibble %v tells %d times\n%s%s", args, strings.Count(out+plain, note), out, plain)
		}
		if args[0] == "run" && !strings.Contains(errs, "it is a JSON array") {
			t.Errorf("a list as generation_config.json:\n%s", errs)
		}
	}
}

// A prompt is UTF-8, wherever it comes from; what is not is told.
func TestPromptsAreUTF8(t *testing.T) {
	long := strings.Repeat("a dog, ", 40)
	for name, c := range map[string]struct {
		in   string
		args []string
		code int
		says string
	}{
		"argument":       {"", []string{"run", "demo", long + "\xff", "-n", "1"}, ExitOK, "1 bytes that are no UTF-8"},
		"flag":           {"", []string{"run", "demo", "-p", long + "\xff", "-n", "1"}, ExitOK, "1 bytes that are no UTF-8"},
		"standard input": {long + "\xff", []string{"run", "demo", "-", "-n", "1"}, ExitOK, "1 bytes that are no UTF-8"},
		"UTF-16":         {"\xff\xfea\x00", []string{"run", "demo", "-", "-n", "1"}, ExitFailed, "UTF-16"},
		"Latin 1":        {"", []string{"run", "demo", strings.Repeat("caf\xe9 ", 9), "-n", "1"}, ExitFailed, "9 of 45 bytes"},
		"chat":           {"a \xff\n", []string{"chat", "demo", "-n", "1"}, ExitOK, "no UTF-8"},
	} {
		if code, _, errs := nibble(c.in, c.args...); code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%s: code %d, not %d, or no %q:\n%s", name, code, c.code, c.says, errs)
		}
	}
	_, plain, _ := nibble("Who are you?\n", "chat", "demo", "-n", "8", "--temp", "0")
	if _, marked, _ := nibble("\ufeffWho are you?\r\n", "chat", "demo", "-n", "8", "--temp", "0"); marked != plain || plain == "" {
		t.Errorf("a byte order mark before the first line makes %q of %q", marked, plain)
	}
}
