package workbench

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"nibble/ui/exit"
	"nibble/ui/probe"
	"nibble/ui/ptytest"
)

// TestMain shows a model that fails when it is asked to.
func TestMain(m *testing.M) {
	if how := os.Getenv("NIBBLE_TEST_FAILING"); how != "" {
		probe.Started()
		owner := exit.New(os.Stderr, os.TempDir())
		err := show(owner.Context(), owner, func(io.Writer) tea.Model { return failing{how} })
		fmt.Printf("ended by %v\n", exit.Panicked(err).Value)
		os.Exit(exit.Code(err))
	}
	flag.Parse()
	os.Exit(m.Run())
}

// failing is a model that panics when a key comes.
type failing struct{ how string }

func (failing) Init() tea.Cmd { return nil }
func (f failing) View() string {
	if f.how == "view now" {
		panic("boom")
	}
	return "waiting for a key"
}
func (f failing) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if _, ok := msg.(tea.KeyMsg); !ok {
		return f, nil
	}
	explode := func() tea.Msg { panic("boom") }
	switch f.how {
	case "update":
		explode()
	case "view":
		return failing{"view now"}, nil
	case "batch":
		return f, tea.Batch(tea.Batch(explode, explode), explode)
	}
	return f, explode
}

// A panic in whatever a screen does leaves the terminal as it was, says nothing of
// its own, and is the reason of the ending.
func TestPanicLeavesTheTerminal(t *testing.T) {
	for _, how := range []string{"update", "view", "command", "batch"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "NIBBLE_TEST_FAILING="+how, "TERM=xterm-256color", "CI=")
			s := ptytest.Start(t, cmd)
			s.Await("waiting for a key")
			s.Type("x")
			status := s.Wait(20 * time.Second)
			left := s.Untidy()
			if status.ExitStatus() != 1 || left != "" || !strings.Contains(s.Output(), "ended by boom") || strings.Contains(s.Output(), "goroutine") {
				t.Errorf("exit code %d, left: %s\n%q", status.ExitStatus(), left, s.Output())
			}
		})
	}
}
