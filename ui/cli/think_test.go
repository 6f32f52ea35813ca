package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// --think and --template reach the chat template; what they cannot do is told.
func TestTemplateFlags(t *testing.T) {
	dir := demoDir(t, func([]byte) {})
	template := "{{ 'The' if enable_thinking else 'A' }} "
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		told string
	}{
		{[]string{"run", dir, "Hi", "-n", "1", "--temp", "0", "--think", "on"}, ExitOK, "tokens in"},
		{[]string{"run", dir, "Hi", "-n", "1", "--temp", "0", "--think", "maybe"}, ExitUsage, "neither on nor off"},
		{[]string{"run", dir, "Hi", "-n", "1", "--template", "rag"}, ExitFailed, `none called "rag"`},
		{[]string{"run", "demo", "Hi", "-n", "1", "--think", "off"}, ExitOK, "no switch for thinking"},
	} {
		code, _, errs := nibble("", c.args...)
		if code != c.code || !strings.Contains(errs, c.told) {
			t.Errorf("%v: %d, %q", c.args, code, errs)
		}
	}
	_, on, _ := nibble("", "run", dir, "Hi", "-n", "4", "--temp", "0", "--think", "on")
	_, off, _ := nibble("", "run", dir, "Hi", "-n", "4", "--temp", "0", "--think", "off")
	if on == off {
		t.Errorf("both ways the answer is %q", on)
	}
}
