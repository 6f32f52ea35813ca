package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/model/modeltest"
)

// logitsOf runs 'nibble logits' and returns its result.
func logitsOf(t *testing.T, stdin string, args ...string) logitsResult {
	t.Helper()
	code, out, errs := nibble(stdin, append([]string{"logits", "--json"}, args...)...)
	var r logitsResult
	if err := json.Unmarshal([]byte(out), &r); code != ExitOK || err != nil {
		t.Fatalf("nibble logits %s: code %d, %v\n%s", strings.Join(args, " "), code, err, errs)
	}
	return r
}

// The logits are the definition's, one for each row of a head that has more rows
// than the tokenizer has tokens, however the ids are given.
func TestLogits(t *testing.T) {
	tiny := modeltest.New(4, modeltest.Small())
	dir, want := tiny.Write(t, nil), tiny.Forward([]int32{5, 69, 0, 5}).Logits
	file := filepath.Join(t.TempDir(), "ids")
	for _, ids := range []string{"5,69,0,5", " 5 69\n0\t5 ", "[5, 69, 0, 5]", "5, 69,\r\n0, 5,", "\ufeff[5,69,0,5]"} {
		if err := os.WriteFile(file, []byte(ids), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{strings.TrimPrefix(ids, "\ufeff"), file, "-"} {
			r := logitsOf(t, ids, dir, "--ids", from, "--positions", "all")
			if !slices.Equal(r.IDs, []int32{5, 69, 0, 5}) || !slices.Equal(r.Positions, []int{0, 1, 2, 3}) || len(r.Logits) != 4 {
				t.Fatalf("--ids %q: ids %v, positions %v, %d logits", from, r.IDs, r.Positions, len(r.Logits))
			}
			for p := range want {
				if d := modeltest.Distance(r.Logits[p], want[p]); !(d < 1e-4) {
					t.Errorf("--ids %q: position %d is off by %g deviations", from, p, d)
				}
			}
		}
	}
	all := logitsOf(t, "", dir, "--ids", "5,69,0,5", "--positions", "all").Logits
	for given, positions := range map[string][]int{"": {3}, "3": {3}, "2,0": {2, 0}, "[1]": {1}, "1, 1": {1, 1}} {
		r := logitsOf(t, "", dir, "--ids", "5,69,0,5", "--positions", given)
		if !slices.Equal(r.Positions, positions) || len(r.Logits) != len(positions) {
			t.Errorf("--positions %q: %v", given, r.Positions)
			continue
		}
		for i, p := range positions {
			if !slices.Equal(r.Logits[i], all[p]) {
				t.Errorf("--positions %q: not the logits after position %d", given, p)
			}
		}
	}
}

func TestLogitsText(t *testing.T) {
	code, out, _ := nibble("", "logits", "demo", "--ids", "1,2,3", "--positions", "1,2")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); code != ExitOK || len(lines) != 2*(1+likeliestShown) || !strings.HasPrefix(lines[0], "after position 1, token 2 ") {
		t.Errorf("code %d:\n%s", code, out)
	}
	dir := modeltest.New(4, modeltest.Small()).Write(t, nil) // no tokenizer
	if code, out, errs := nibble("", "logits", dir, "--ids", "1"); code != ExitOK || !strings.HasPrefix(out, "after position 0, token 1") {
		t.Errorf("code %d:\n%s%s", code, out, errs)
	}
}

func TestLogitsRefuses(t *testing.T) {
	tiny := modeltest.New(4, modeltest.Small())
	dir := tiny.Write(t, func(c map[string]any) { c["max_position_embeddings"] = 4 })
	huge := modeltest.New(4, modeltest.Small())
	for i := range huge.Tensors["model.norm.weight"].Data {
		huge.Tensors["model.norm.weight"].Data[i] = 3e38
	}
	file := filepath.Join(t.TempDir(), "ids")
	if err := os.WriteFile(file, []byte("1 two"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{dir}, ExitUsage, "--ids"},
		{[]string{dir, "--ids", ","}, ExitUsage, "no token ids"},
		{[]string{dir, "--ids", "1, ,2"}, ExitUsage, "a comma without a token id"},
		{[]string{dir, "--ids", ",1"}, ExitUsage, "a comma without a token id"},
		{[]string{dir, "--ids", "[]"}, ExitUsage, "no token ids"},
		{[]string{dir, "--ids", "1,-2"}, ExitUsage, "-2 is no token id"},
		{[]string{dir, "--ids", "99999999999"}, ExitUsage, "no token id"},
		{[]string{dir, "--ids", "[1,"}, ExitUsage, "JSON array"},
		{[]string{dir, "--ids", "no/such/file"}, ExitFailed, "no/such/file"},
		{[]string{dir, "--ids", os.DevNull}, ExitFailed, "not a regular file"},
		{[]string{dir, "--ids", file}, ExitFailed, `ids: "two" is no token id`},
		{[]string{dir, "--ids", "1,70"}, ExitFailed, "70 is outside the vocabulary"},
		{[]string{dir, "--ids", "1,2,3,4,5"}, ExitFailed, "5 ids are more than"},
		{[]string{dir, "--ids", "1,2", "--positions", "2"}, ExitUsage, "2 is beyond the last of 2 ids, 1"},
		{[]string{dir, "--ids", "1,2", "--positions", "x"}, ExitUsage, "from 0 to 1"},
		{[]string{dir, "--ids", "1,2", "--positions", "-1"}, ExitUsage, "from 0 to 1"},
		{[]string{huge.Write(t, nil), "--ids", "1,2"}, ExitFailed, "not finite"},
	} {
		code, out, errs := nibble("", append([]string{"logits", "--json"}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.says) || !strings.HasPrefix(out, `{"type":"error",`) || strings.Count(out, "\n") != 1 {
			t.Errorf("nibble logits %s: code %d, want %d and %q:\n%s%s", strings.Join(c.args, " "), code, c.code, c.says, out, errs)
		}
	}
}
