//go:build unix

package eval

import (
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// limitFiles lets no file grow beyond so many bytes, as a full disk does, until the
// returned function is called.
func limitFiles(t *testing.T, bytes uint64) func() {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Skip(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	limit := before
	limit.Cur = bytes
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Skip(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
			t.Fatal(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	}
}

// fullEnv is set for the process whose files may not grow.
const fullEnv = "NIBBLE_TEST_FULL"

// A disk that fills up costs what would be kept there, not the figures.
func TestReferenceCacheFull(t *testing.T) {
	if os.Getenv(fullEnv) == "" { // a process of its own, as the limit is of all that writes
		cmd := exec.Command(os.Args[0], "-test.run=^TestReferenceCacheFull$", "-test.v")
		cmd.Env = append(os.Environ(), fullEnv+"=1")
		switch out, err := cmd.CombinedOutput(); {
		case err != nil:
			t.Errorf("%v\n%s", err, out)
		case strings.Contains(string(out), "--- SKIP"):
			t.Skip("the size of files cannot be limited here")
		}
		return
	}
	_, m := load(t, "demo")
	questions, err := DemoTask()
	if err != nil {
		t.Fatal(err)
	}
	questions.Items = questions.Items[:3]
	o := Options{Text: DemoText(), Ctx: 64, Chunks: 3, Tasks: []TaskSet{questions}}
	want, _ := cachedReference(t, m, o)
	size := uint64(statesBytes(statesHeader{Windows: 1, Size: len(want.states.memory[0])}))
	for name, limit := range map[string]uint64{
		"nothing fits":           0,
		"a window":               statesStart + size,
		"a window and a half":    statesStart + size*3/2,
		"all but the last bytes": statesStart + size*3 - 1,
	} {
		o.CacheDir = t.TempDir()
		unlimited := limitFiles(t, limit)
		got, _ := cachedReference(t, m, o)
		unlimited()
		if got.Result.PPL != want.Result.PPL || got.Result.Tasks[0].Acc != want.Result.Tasks[0].Acc {
			t.Errorf("%s: perplexity %v, want %v", name, got.Result.PPL, want.Result.PPL)
		}
		for i := range want.windows {
			a, err := got.states.reader().window(i)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := want.states.reader().window(i)
			if a[0] != b[0] || a[len(a)-1] != b[len(b)-1] {
				t.Errorf("%s: window %d differs", name, i)
			}
		}
		if n := strings.Count(strings.Join(got.Result.Notes, "\n"), "not kept for later"); n != 1 {
			t.Errorf("%s: notes %q", name, got.Result.Notes)
		}
		if _, known := cachedReference(t, m, o); known {
			t.Errorf("%s: half a file is recalled", name)
		}
	}
}
