package workbench

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	xterm "github.com/charmbracelet/x/term"
	"github.com/muesli/termenv"

	"nibble/kernels/panics"
	"nibble/ui/exit"
)

// terminal is what the workbench is shown on, and how it was before.
type terminal struct {
	in, out *os.File
	before  *xterm.State
	lost    func(error) // told when it cannot be read or written any more

	writing sync.Mutex
	screen  bool        // the other one is shown
	over    atomic.Bool // restored: nothing is written any more
}

// openTerminal takes standard input, or the controlling terminal if that is
// something else.
func openTerminal(lost func(error)) (*terminal, error) {
	t := &terminal{in: os.Stdin, out: os.Stdout, lost: lost}
	var err error
	if !xterm.IsTerminal(t.in.Fd()) {
		if t.in, err = os.Open("/dev/tty"); err != nil {
			return nil, fmt.Errorf("the workbench needs a terminal to read keys from: %w", err)
		}
	}
	if t.before, err = xterm.GetState(t.in.Fd()); err != nil {
		return nil, fmt.Errorf("the workbench needs a terminal to read keys from: %w", err)
	}
	return t, nil
}

// modesOff undoes what a screen asks of a terminal: mouse, focus, paste, styles,
// the hidden cursor.
const modesOff = ansi.ResetModeMouseButtonEvent + ansi.ResetModeMouseAnyEvent + ansi.ResetModeMouseExtSgr + ansi.ResetModeFocusEvent +
	ansi.ResetModeBracketedPaste + ansi.ResetStyle + ansi.ShowCursor

// The sequences that enter the other screen and leave it. To leave it twice would
// move the cursor.
const (
	enterScreen = ansi.SetModeAltScreenSaveCursor
	leaveScreen = ansi.ResetModeAltScreenSaveCursor
)

// restoreTimeout is how long a terminal that takes nothing (Ctrl-S, a connection
// that is dead) is waited for.
const restoreTimeout = 200 * time.Millisecond

// restore makes the terminal as it was, also while others write to it or after
// they did. A terminal that a shell has taken back is left alone.
func (t *terminal) restore() {
	first := !t.over.Swap(true)
	if !exit.Foreground(t.in.Fd()) {
		return
	}
	if first {
		exit.Within(restoreTimeout, func() {
			t.writing.Lock() // until a write that has begun is done
			defer t.writing.Unlock()
			text := modesOff
			if t.screen {
				text += leaveScreen
			}
			_, _ = io.WriteString(t.out, text)
		})
	}
	_ = xterm.Restore(t.in.Fd(), t.before) // a terminal that is gone cannot be
}

// input and output are the terminal's files for Bubble Tea.
func (t *terminal) input() io.Reader  { return terminalInput{t.in, t} }
func (t *terminal) output() io.Writer { return terminalOutput{t.out, t} }

// terminalInput notices that the terminal is gone, also by its end: in raw mode no
// key ends the input.
type terminalInput struct {
	*os.File
	t *terminal
}

// Read implements io.Reader.
func (f terminalInput) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	if err != nil {
		f.t.lost(fmt.Errorf("%w (%v)", exit.ErrTerminalLost, err))
	}
	return n, err
}

// terminalOutput writes until the terminal is restored.
type terminalOutput struct {
	*os.File
	t *terminal
}

// Write implements io.Writer.
func (f terminalOutput) Write(p []byte) (int, error) {
	f.t.writing.Lock()
	defer f.t.writing.Unlock()
	if f.t.over.Load() {
		return len(p), nil
	}
	n, err := f.File.Write(p)
	switch string(p) { // Bubble Tea writes them alone
	case enterScreen:
		f.t.screen = true
	case leaveScreen:
		f.t.screen = false
	}
	if err != nil {
		f.t.lost(fmt.Errorf("%w (%v)", exit.ErrTerminalLost, err))
	}
	return n, err
}

// WriteString implements io.StringWriter as Write.
func (f terminalOutput) WriteString(s string) (int, error) { return f.Write([]byte(s)) }

// askBackground asks the terminal whether its background is dark, so that colours
// are read well on it. A terminal that does not answer takes seconds.
func (t *terminal) askBackground(ctx context.Context) {
	dark := true
	asking := panics.Go(func() { dark = termenv.NewOutput(t.out).HasDarkBackground() })
	select {
	case <-ctx.Done():
	case <-asking.Done():
		lipgloss.SetHasDarkBackground(dark)
	}
}

// suspension is Ctrl-Z as a command of Bubble Tea, which gives the terminal back
// for it and takes it again.
type suspension struct {
	owner *exit.Owner
	fd    uintptr
}

// Run implements tea.ExecCommand.
func (s suspension) Run() error {
	s.owner.Suspend(s.fd)
	return nil
}

// SetStdin implements tea.ExecCommand.
func (suspension) SetStdin(io.Reader) {}

// SetStdout implements tea.ExecCommand.
func (suspension) SetStdout(io.Writer) {}

// SetStderr implements tea.ExecCommand.
func (suspension) SetStderr(io.Writer) {}

// suspending makes of a wish to suspend the command that does.
func (t *terminal) suspending(owner *exit.Owner) func(tea.Model, tea.Msg) tea.Msg {
	return func(_ tea.Model, msg tea.Msg) tea.Msg {
		if _, ok := msg.(tea.SuspendMsg); ok {
			return tea.Exec(suspension{owner, t.in.Fd()}, nil)()
		}
		return msg
	}
}
