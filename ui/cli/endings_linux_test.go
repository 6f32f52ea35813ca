package cli

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"nibble/ui/ptytest"
)

var endings = flag.Int("endings", 12, "how many times the workbench is ended by signals at random moments")

// TestMain is nibble itself when it is asked to.
func TestMain(m *testing.M) {
	if os.Getenv("NIBBLE_TEST_AS") == "nibble" {
		os.Exit(Main(os.Args[1:]))
	}
	// A shell's job in the background ignores SIGINT, and so would what it starts:
	// signals that are caught are not inherited.
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	flag.Parse()
	os.Exit(m.Run())
}

// onTerminal runs nibble on a terminal of its own, with state and cache in dir.
func onTerminal(t testing.TB, dir string, args ...string) *ptytest.Session {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = nibbleEnv(dir)
	return ptytest.Start(t, cmd)
}

// nibbleEnv makes this program nibble on a terminal that has colours.
func nibbleEnv(dir string) []string {
	return append(os.Environ(), "NIBBLE_TEST_AS=nibble", "TERM=xterm-256color", "CI=", "XDG_STATE_HOME="+dir, "XDG_CACHE_HOME="+dir)
}

// press types keys, those between bars at once.
func press(s *ptytest.Session, keys string) {
	for key := range strings.SplitSeq(keys, "|") {
		s.Type(key)
		time.Sleep(20 * time.Millisecond)
	}
}

// quit leaves the workbench, whether a job runs, which it asks about, or not. Keys
// that are read at once are no keys, so it tries again.
func quit(s *ptytest.Session) {
	for range 100 {
		press(s, "q|y|\x1b")
		select {
		case <-s.Ended():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Whenever signals come, one or two of them, the workbench ends with 130 and the
// terminal as it was. After q it may have ended before.
func TestSignalsAtRandomMoments(t *testing.T) {
	dir := t.TempDir()
	first := onTerminal(t, dir) // measures the kernels, so that the others begin soon
	first.Await("ready: t tunes")
	quit(first)
	if status := first.Wait(20 * time.Second); status.ExitStatus() != ExitOK || first.Untidy() != "" {
		t.Fatalf("q: exit code %d, left: %s", status.ExitStatus(), first.Untidy())
	}
	doings := []struct{ name, keys string }{
		{"starting", ""},
		{"tuning", "t"},
		{"quantizing", "z|\r|\r|\r"},
		{"chatting", "5|Tell me a story|\r"},
		{"quitting", "q|y"},
	}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	slots := make(chan struct{}, 2)
	for i := range *endings {
		doing := doings[i%len(doings)]
		s := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}[rng.IntN(3)]
		double, gap := rng.IntN(2) == 0, time.Duration(rng.IntN(20))*time.Millisecond
		moment := time.Duration(rng.IntN(400)) * time.Millisecond
		if doing.keys == "" {
			moment /= 4
		}
		t.Run(fmt.Sprintf("%d %s", i, doing.name), func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			n := onTerminal(t, dir)
			if doing.keys != "" {
				n.Await("ready: t tunes")
				press(n, doing.keys)
			}
			time.Sleep(moment)
			_ = n.Cmd.Process.Signal(s)
			if double {
				time.Sleep(gap)
				_ = n.Cmd.Process.Signal(s)
			}
			status := n.Wait(20 * time.Second)
			left, told := n.Untidy(), n.Output()
			ok := status.ExitStatus() == ExitInterrupted && strings.Contains(told, "nibble: ") && !strings.Contains(told, "did not end by itself") || doing.name == "quitting" && status.ExitStatus() == ExitOK ||
				status.Signal() == s && !strings.Contains(told, "\x1b") // before it began
			if !ok || left != "" {
				t.Errorf("%v (twice: %v) after %v, seed %d: exit code %d, left: %s\n%q", s, double, moment, seed, status.ExitStatus(), left, told[max(0, len(told)-300):])
			}
		})
	}
}

// A terminal that is closed ends the workbench, also one that ignores hangups, which
// do nothing to it.
func TestHangUp(t *testing.T) {
	for _, ignored := range []bool{false, true} {
		script := `exec "$0" demo`
		if ignored {
			script = `trap "" HUP; ` + script
		}
		sh := exec.Command("sh", "-c", script, os.Args[0])
		sh.Env = nibbleEnv(t.TempDir())
		n := ptytest.Start(t, sh)
		n.Await("\x1b[?1049h")
		if ignored {
			_ = n.Cmd.Process.Signal(syscall.SIGHUP)
			n.Type("?")
			n.Await("Everywhere")
		}
		n.HangUp()
		if status := n.Wait(20 * time.Second); status.ExitStatus() != ExitInterrupted {
			t.Errorf("ignored %v: exit code %d", ignored, status.ExitStatus())
		}
	}
}

// A command asks the terminal nothing and leaves it alone.
func TestCommandOnTerminal(t *testing.T) {
	n := onTerminal(t, t.TempDir(), "info", "demo")
	status := n.Wait(20 * time.Second)
	if left := n.Untidy(); status.ExitStatus() != ExitOK || left != "" || strings.Contains(n.Output(), "\x1b") {
		t.Errorf("exit code %d, left: %s, output %q", status.ExitStatus(), left, n.Output())
	}
}

// Who stops the workbench finds the terminal as it was, and the workbench again
// when it goes on; it can be ended while it is stopped, and is not where nobody
// could continue it.
func TestSuspend(t *testing.T) {
	for _, c := range []struct {
		name, then string
		told       string
	}{
		{"continued", "fg", "code 0"},
		{"ended meanwhile", "kill -TERM %1; kill -CONT %1; read x", "nibble: interrupted by SIGTERM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sh := exec.Command("sh", "-c", `set -m; "$0" demo; echo "stopped $?"; `+c.then+`; echo "code $?"`, os.Args[0])
			sh.Env = nibbleEnv(t.TempDir())
			s := ptytest.Start(t, sh)
			s.Await("ready: t tunes")
			s.Type("\x1a")
			s.Await("stopped 148")
			if c.then == "fg" {
				s.AwaitCount("\x1b[?1049h", 2)
				quit(s)
			}
			s.Await(c.told)
			s.Type("\r") // for a shell that waits
			s.Wait(20 * time.Second)
			if left := s.Untidy(); left != "" {
				t.Errorf("left: %s", left)
			}
		})
	}
	t.Run("alone", func(t *testing.T) {
		n := onTerminal(t, t.TempDir(), "demo")
		n.Await("ready: t tunes")
		n.Type("\x1a")
		n.AwaitCount("\x1b[?1049h", 2)
		quit(n)
		if status := n.Wait(20 * time.Second); status.ExitStatus() != ExitOK || n.Untidy() != "" {
			t.Errorf("exit code %d, left: %s", status.ExitStatus(), n.Untidy())
		}
	})
}

// A command whose reader goes away ends quietly, as tools do.
func TestReaderGoesAway(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("sh", "-c", `("$0" info demo --tensors; echo "code $?" >&2) | true`, os.Args[0])
	cmd.Env = nibbleEnv(dir)
	out, err := cmd.CombinedOutput()
	if text := string(out); err != nil || text != "code 141\n" && text != "code 0\n" { // it may have written all before
		t.Errorf("%v, %q", err, text)
	}
}
