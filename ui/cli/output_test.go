package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"

	"nibble/tune"
	"nibble/ui/term"
)

// fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// A result that could not be written is a failure, whatever printed it.
func TestLostOutput(t *testing.T) {
	for _, args := range []string{"--help", "--version", "version --json", "help", "help recipes", "help info", "recipes", "info --help", "info demo", "info demo --json", "runs", "run demo Hello -n 2", "chat demo", "completion bash"} {
		var errs bytes.Buffer
		a := newApp(strings.NewReader("Hello\n"), fullDisk{}, &errs)
		code := a.main(strings.Fields(args))
		if lines := strings.Split(strings.TrimSpace(errs.String()), "\n"); code != ExitFailed || lines[len(lines)-1] != "nibble: standard output: no space left on device" {
			t.Errorf("nibble %s: code %d, %q", args, code, errs.String())
		}
	}
}

// hostile is text as a file could hold it: escape sequences, C1, bidi controls, and
// line breaks that would forge lines of nibble's own.
const hostile = "x\x1b]0;owned\a\u009b2J\u202e\nnote  forged\rline"

// Whatever a model, a run or a table of kernels says, it is printed within its line
// and nothing in it controls the terminal.
func TestHostileTextIsPrinted(t *testing.T) {
	choice := tune.Choice{Matrix: hostile, Spec: hostile, Why: hostile}
	for name, c := range map[string]struct {
		lines int
		print func(w *term.Writer)
	}{
		"info": {15, func(w *term.Writer) { hostileInfo().text(w, true) }},
		"kernels": {8, func(w *term.Writer) {
			kernelsText(w, kernelsResult{Floats: hostile, Rows: []benchRow{{Format: hostile, Kernel: hostile, Reason: hostile}}})
		}},
		"why": {2, func(w *term.Writer) { whyText(w, []tune.Choice{choice}) }},
		"advice": {9, func(w *term.Writer) {
			tuneText(w, tuneResult{Result: tune.Result{Advice: hostile, Notes: []string{hostile}, Path: hostile, Best: &tune.Trial{}}, OpensIn: hostile})
		}},
	} {
		var out bytes.Buffer
		c.print(term.NewWriter(&out))
		if n := strings.Count(out.String(), "\n"); n != c.lines || strings.Contains(out.String(), "\nnote  forged") {
			t.Errorf("%s: %d lines, want %d:\n%s", name, n, c.lines, out.String())
		}
		if i := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }); i >= 0 {
			t.Errorf("%s: a control character at %d of %q", name, i, out.String())
		}
	}
}

func hostileInfo() infoResult {
	return infoResult{Weights: true, Name: hostile, Arch: hostile, DType: hostile, Tokenizer: hostile, Notes: []string{hostile}, Tensors: []infoTensor{{Name: hostile, DType: hostile, Shape: []int{1}}}}
}

// JSON means what the file says and shows nothing of it that a terminal obeys.
func TestHostileTextInJSON(t *testing.T) {
	var out bytes.Buffer
	a := newApp(nil, &out, nil)
	a.json = true
	newReporter(a).result(hostileInfo(), nil)
	if text := out.String(); strings.ContainsFunc(strings.TrimSpace(text), func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) || !strings.Contains(text, `\u009b2J\u202e\nnote`) {
		t.Errorf("%q", text)
	}
}
