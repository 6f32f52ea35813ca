package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"nibble/eval/report"
	"nibble/model/demo"
)

// TestEvalReport evaluates a ruined model on a text that tries to reach the
// terminal, and reads back what was written.
func TestEvalReport(t *testing.T) {
	dir := t.TempDir()
	model, to := filepath.Join(dir, "q"), filepath.Join(dir, "report")
	if code, _, errs := nibble("", "quantize", "demo", "-o", model, "--recipe", "keep; *.1.mlp.down_proj w4 channel sym rtn"); code != ExitOK {
		t.Fatal(errs)
	}
	// Words, and a title for the terminal, a link and a table's end after each.
	text := strings.ReplaceAll(string(demo.CalibText()[:6000]), "said", "said \x1b]0;owned\a [x](http://y) | <b>")
	hostile := filepath.Join(dir, "hostile.txt")
	if err := os.WriteFile(hostile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"eval", model, "--base", "demo", "--text", hostile, "--report", to}
	var out string
	for range 2 { // an older report gives way
		code, o, errs := nibble("", args...)
		if code != ExitOK {
			t.Fatal(errs)
		}
		out = o
	}
	if !strings.Contains(out, "layer 1              KLD") || !strings.Contains(out, "100.0 % of the damage") {
		t.Errorf("the ruined layer is not named:\n%s", out)
	}
	data, err := os.ReadFile(filepath.Join(to, reportJSON))
	if err != nil {
		t.Fatal(err)
	}
	var r, again report.Report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if second, err := json.Marshal(r); err != nil || json.Unmarshal(second, &again) != nil || !reflect.DeepEqual(r, again) {
		t.Errorf("a report does not come back as it was: %v", err)
	}
	if r.Kind != report.Kind || r.Damage == nil || r.Damage.Worst(1)[0].Layer != 1 || len(r.WorstTokens) != report.DefaultWorst || len(r.Continuations) != report.DefaultContinuations {
		t.Errorf("the report lacks parts: %s", data)
	}
	md, err := os.ReadFile(filepath.Join(to, reportMarkdown))
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(md), out}
	for _, w := range r.WorstTokens {
		texts = append(texts, w.Context, w.Token.Text)
	}
	for _, c := range r.Continuations {
		texts = append(texts, c.Prompt, c.Same, c.Says, c.BaseSays)
	}
	for _, s := range texts {
		if i := strings.IndexFunc(s, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' }); i >= 0 {
			t.Errorf("a control character in %q", s[max(0, i-40):min(len(s), i+40)])
		}
	}
	if strings.Contains(string(md), "](http") {
		t.Error("a text became a link")
	}
	for _, line := range strings.Split(string(md), "\n") {
		if cells := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); strings.HasPrefix(line, "| 0.") && cells != 8 {
			t.Errorf("a text became cells: %s", line)
		}
	}
}

// TestEvalReportRefusals checks that other files named report.json or report.md
// stay.
func TestEvalReportRefusals(t *testing.T) {
	for name, content := range map[string]string{reportJSON: `{"recipe":{}}`, reportMarkdown: "# mine"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		code, _, errs := nibble("", "eval", "demo", "--base", "demo", "--report", dir)
		if code != ExitFailed || !strings.Contains(errs, path) {
			t.Errorf("%s: code %d, %s", name, code, errs)
		}
		if got, _ := os.ReadFile(path); string(got) != content {
			t.Errorf("%s was overwritten", name)
		}
	}
	if code, _, errs := nibble("", "eval", "demo", "--report", t.TempDir()); code != ExitUsage || !strings.Contains(errs, "--base") {
		t.Errorf("without a base: code %d, %s", code, errs)
	}
}

// What was measured is said, even if the report cannot be written.
func TestReportThatCannotBeWritten(t *testing.T) {
	to := t.TempDir()
	older := fmt.Sprintf(`{"kind": %q}`, report.Kind)
	if err := os.WriteFile(filepath.Join(to, reportJSON), []byte(older), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(to, reportMarkdown), 0o755); err != nil {
		t.Fatal(err)
	}
	code, out, errs := nibble("", "eval", "demo", "--base", "demo", "--report", to, "--ctx", "16", "--chunks", "1")
	if code != ExitFailed || !strings.Contains(out, "perplexity") || strings.Contains(out, "\nreport ") || !strings.Contains(errs, reportMarkdown) {
		t.Errorf("code %d:\n%s\n%s", code, out, errs)
	}
}
