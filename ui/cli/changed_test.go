package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A model that is cut while a command uses it ends the command with one line that
// names the file, and exit code 1.
func TestModelCut(t *testing.T) {
	dir := demoDir(t, func([]byte) {})
	weights := filepath.Join(dir, "model.safetensors")
	var out, errs bytes.Buffer
	a := newApp(&cutter{weights, []string{"Hello\n", "Again\n"}}, &out, &errs)
	code := a.main([]string{"chat", dir, "-n", "3", "--seed", "1"})
	_, says, _ := strings.Cut(errs.String(), "nibble: ")
	if code != ExitFailed || !strings.HasPrefix(says, weights+" was truncated while it was read") || strings.Count(says, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

// cutter gives lines, and cuts a file before the last.
type cutter struct {
	path  string
	lines []string
}

func (c *cutter) Read(p []byte) (int, error) {
	switch len(c.lines) {
	case 0:
		return 0, io.EOF
	case 1:
		if err := os.Truncate(c.path, 0); err != nil {
			return 0, err
		}
	}
	line := c.lines[0]
	c.lines = c.lines[1:]
	return copy(p, line), nil
}
