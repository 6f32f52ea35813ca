// Package workbench is nibble's interactive screen: the whole way from float
// model to chat, live.
//
// One root model routes keys and draws; pages are plain structs over a shared
// state. Engines run in the background as jobs and report through a mailbox:
// samples, of which only the latest matters, and facts, which all arrive. A pump
// hands them to the update loop in batches, so that compute never waits for the
// screen and the screen never redraws faster than a person can read.
//
// The package shows what engines say; how anything is computed it does not know.
package workbench

import (
	"context"
	"io"
	"os"
	"runtime"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"nibble/kernels/panics"
	"nibble/ui/exit"
	"nibble/ui/term"
	"nibble/ui/theme"
)

// Options configures Run.
type Options struct {
	Model    string // reference
	Base     string // of the float model, if Model is the INT4 one; "" is what its report says
	Threads  int    // compute threads; 0 is one per core
	CacheDir string // kernel measurements
	RunsDir  string // tuning runs
	ChatsDir string // conversations that are saved
	Theme    string // by name; "" is the one that was used last
	Memory   string // file that keeps the page and the theme for the next time
	ASCII    bool   // draw with nothing else
	Owner    *exit.Owner
}

// framesPerSecond limits how often the terminal is written to. The renderer wakes
// so often even when nothing changes: half the usual rate idles at half the cost.
const framesPerSecond = 30

// stopTimeout is how long Run waits for cancelled jobs before it gives up on
// them.
const stopTimeout = 5 * time.Second

// Run opens the workbench and returns when the user leaves it.
func Run(ctx context.Context, o Options) error {
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	// Kernels are not preempted. Were there as many of Go's processors as compute
	// threads, a key would wait for one to come free; with two more the kernel of
	// the operating system finds it time at once.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), o.Threads+2)))
	b := newBackend(ctx, o)
	var a *app
	err := show(ctx, o.Owner, func(out io.Writer) tea.Model {
		a = newApp(b)
		a.chatsDir, a.out, a.ascii = o.ChatsDir, out, o.ASCII || !term.UTF8(os.Getenv)
		if th, err := theme.Named(o.Theme); err == nil {
			a.th = th
		}
		a.recall(o.Memory, o.Theme != "")
		return a
	})
	if err == nil && a != nil {
		_ = a.remember(o.Memory) // a page that does not come back is no failure
	}
	if b.jobs.stop(stopTimeout) { // what a job still uses stays open
		b.close()
	}
	return err
}

// show runs a model on the terminal until it quits or ctx ends, whose cause is the
// error then. Whatever happens the terminal is as before.
func show(ctx context.Context, owner *exit.Owner, model func(out io.Writer) tea.Model) error {
	t, err := openTerminal(owner.End)
	if err != nil {
		return err
	}
	owner.Terminal(t.restore)
	defer t.restore()
	t.askBackground(ctx) // before styles are made
	crash := func(c *panics.Carried) { owner.End(c) }
	p := tea.NewProgram(guard{model(t.output()), crash}, tea.WithContext(ctx), tea.WithAltScreen(), tea.WithFPS(framesPerSecond), tea.WithInput(t.input()), tea.WithOutput(t.output()),
		tea.WithFilter(t.suspending(owner)), tea.WithoutSignalHandler(), tea.WithoutCatchPanics())
	if c := panics.Catch(func() { _, err = p.Run() }); c != nil {
		crash(c)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
