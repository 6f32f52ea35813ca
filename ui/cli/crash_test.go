package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adrg/xdg"
)

// mine is standard input that explodes.
type mine struct{}

func (mine) Read([]byte) (int, error) { panic("boom") }

// A panic, in a command or in a goroutine of one, is one line, exit 1, and a file
// in the state directory.
func TestPanicIsTold(t *testing.T) {
	defer func(dir string) { xdg.StateHome = dir }(xdg.StateHome)
	for _, args := range []string{"run demo -", "chat demo", "chat demo --json"} {
		xdg.StateHome = t.TempDir()
		var out, errs bytes.Buffer
		code := newApp(mine{}, &out, &errs).main(strings.Fields(args))
		files, _ := filepath.Glob(filepath.Join(xdg.StateHome, "nibble", "crash-*.txt"))
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		last := lines[len(lines)-1]
		if code != ExitFailed || len(files) != 1 || !strings.HasPrefix(last, "nibble: internal error: boom") || !strings.Contains(last, files[0]) {
			t.Fatalf("nibble %s: code %d, files %v\n%s", args, code, files, errs.String())
		}
		if data, err := os.ReadFile(files[0]); err != nil || !strings.Contains(string(data), "cli.mine.Read") {
			t.Errorf("nibble %s: %v, without the place:\n%s", args, err, data)
		}
		if strings.Contains(args, "--json") != strings.Contains(out.String(), `{"type":"error","error":"internal error: boom`) {
			t.Errorf("nibble %s: %q", args, out.String())
		}
	}
}
