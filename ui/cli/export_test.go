package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runExport runs 'nibble export' and returns the exit code, stdout and stderr.
func runExport(args ...string) (int, string, string) {
	var out, err bytes.Buffer
	a := newApp(strings.NewReader(""), &out, &err)
	code := a.main(append([]string{"export"}, args...))
	return code, out.String(), err.String()
}

func TestExport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "demo.gguf")
	code, out, errs := runExport("demo", "-o", path, "--json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var res struct {
		Type, Path string
		Size       int64    `json:"size_bytes"`
		Diff       *float64 `json:"max_abs_diff"`
		Exact      bool
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &res); err != nil || code != ExitOK {
		t.Fatalf("code %d, %v\n%s%s", code, err, out, errs)
	}
	info, err := os.Stat(path)
	if err != nil || res.Type != "result" || res.Path != path || res.Size != info.Size() || res.Diff == nil || *res.Diff != 0 || !res.Exact {
		t.Errorf("result %+v of %v (%v)", res, info, err)
	}
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, `{"type":"export_progress",`) {
			t.Errorf("line %s", line)
		}
	}
	if code, out, _ := runExport("demo", "-o", path+"2", "--type", "f16"); code != ExitOK || !strings.Contains(out, "exact           no") || !strings.Contains(out, "F16") {
		t.Errorf("code %d\n%s", code, out)
	}
}

func TestExportRefusals(t *testing.T) {
	dir := t.TempDir()
	there, fresh := filepath.Join(dir, "there.gguf"), filepath.Join(dir, "fresh.gguf")
	if err := os.WriteFile(there, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"demo"}, ExitUsage, "-o FILE.gguf"},
		{[]string{"-o", fresh}, ExitUsage, "one argument"},
		{[]string{"demo", "-o", fresh, "--type", "q5_0"}, ExitUsage, "q4_0, q4_1"},
		{[]string{"demo", "-o", fresh, "--format", "onnx"}, ExitUsage, "gguf, compressed-tensors"},
		{[]string{"demo", "-o", fresh, "--format", "gptq"}, ExitFailed, "does not quantize"},
		{[]string{"demo", "-o", there}, ExitFailed, "exists already"},
		{[]string{"demo", "-o", fresh, "--type", "q4_0"}, ExitFailed, "does not quantize"},
		{[]string{filepath.Join(dir, "none"), "-o", fresh}, ExitFailed, "not found"},
	} {
		code, out, errs := runExport(c.args...)
		if code != c.code || !strings.Contains(errs, c.says) || out != "" {
			t.Errorf("%q: code %d, %q %q; want %d and %q", c.args, code, out, errs, c.code, c.says)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("files %v (%v)", entries, err)
	}
}
