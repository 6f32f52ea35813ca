// Package cli is nibble's command line: it parses arguments, runs an engine and
// reports what it says, as text or as JSON lines.
//
// Data goes to stdout, progress to stderr. Exit codes: 0 ok, 1 failed, 2 usage,
// 130 interrupted.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"nibble/kernels"
	"nibble/kernels/panics"
	"nibble/model"
	"nibble/model/source"
	"nibble/model/store"
	"nibble/quant"
	rt "nibble/runtime"
	"nibble/ui/exit"
	"nibble/ui/job"
	"nibble/ui/probe"
	"nibble/ui/term"
	"nibble/ui/theme"
	"nibble/ui/workbench"
)

// The exit codes.
const (
	ExitOK          = 0
	ExitFailed      = exit.Failed
	ExitUsage       = 2
	ExitInterrupted = exit.Interrupted
)

// errUsage marks mistakes in the arguments.
var errUsage = errors.New("usage")

func usagef(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errUsage, fmt.Errorf(format, args...))
}

// app is what every command shares.
type app struct {
	out, err *term.Writer // stdout and stderr
	in       io.Reader
	tty      bool // stdout is a terminal
	errTTY   bool // stderr is a terminal
	json     bool
	threads  int
	refresh  bool // measure kernels again
	report   reporter
	notes    []string    // told so far
	owner    *exit.Owner // of endings
}

// Main runs nibble and returns its exit code.
func Main(args []string) int {
	probe.Started()
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	a.tty, a.errTTY = isTerminal(os.Stdout), isTerminal(os.Stderr)
	a.owner.Listen()
	return a.main(args)
}

func newApp(in io.Reader, out, err io.Writer) *app {
	a := &app{in: in, out: term.NewWriter(out), err: term.NewWriter(err)}
	a.owner = exit.New(a.err, job.StateDir())
	return a
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

func (a *app) main(args []string) int {
	defer a.owner.Done()
	ctx := a.owner.Context()
	root := a.root()
	root.SetArgs(args)
	var err error
	run := func() error {
		if err := misspelt(root, args); err != nil {
			return err
		}
		return root.ExecuteContext(ctx)
	}
	if c := panics.Catch(func() { err = source.Guard(run) }); c != nil {
		a.owner.End(c)
	}
	lost := a.out.Err()
	if err == nil && lost == nil && ctx.Err() == nil {
		return ExitOK
	}
	if a.report != nil {
		a.report.clear()
	}
	code := ExitFailed
	switch {
	case ctx.Err() != nil:
		code = exit.Code(context.Cause(ctx))
		err = a.ended(err)
	case lost != nil && (err == nil || errors.Is(err, lost)):
		err = fmt.Errorf("standard output: %w", lost)
	case errors.Is(err, errUsage):
		code = ExitUsage
	}
	text := term.Shorten(strings.TrimPrefix(err.Error(), errUsage.Error()+": "))
	if a.json || slices.Contains(args, "--json") { // a mistake before it stops the parsing
		(&jsonReporter{a}).print("error", map[string]string{"error": text})
	}
	fmt.Fprintf(a.err, "nibble: %s\n", term.CleanLine(strings.ReplaceAll(text, "\n", "; "))) // joined errors have a line each
	if code == ExitUsage {
		fmt.Fprintln(a.err, "nibble: see 'nibble --help'")
	}
	return code
}

// ended is what is told at the end of a program that something else than err ended.
func (a *app) ended(err error) error {
	last := a.owner.LastLine()
	unfinished := (*quant.Unfinished)(nil)
	if exit.Panicked(context.Cause(a.owner.Context())) == nil && errors.As(err, &unfinished) {
		return unfinished // which says better how to go on
	}
	return last
}

func (a *app) root() *cobra.Command {
	var showVersion, ascii bool
	var themeName, base string
	root := &cobra.Command{
		Use:   "nibble [MODEL]",
		Short: "Turn an FP32 language model into an INT4 model you can trust, and run it on this CPU",
		Long: `nibble takes a language model through INT4 quantization, evaluation and automatic
recipe tuning, and runs the result on the CPU with kernels measured on this machine.

MODEL is "demo" (built in), a Hugging Face model directory, a GGUF file, ORG/NAME on the
Hugging Face hub, or a name that 'nibble models' lists. Without a command nibble opens the
workbench, on the demo model when no MODEL is given.`,
		SilenceErrors: true, SilenceUsage: true,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if showVersion {
				return a.version()
			}
			ref := "demo"
			if len(args) == 1 {
				ref = args[0]
			}
			themeName = cmp.Or(themeName, os.Getenv("NIBBLE_THEME"))
			if _, err := theme.Named(themeName); err != nil {
				return usagef("--theme: %w", err)
			}
			return a.workbench(cmd.Context(), workbench.Options{Model: ref, Base: base, Threads: a.threads, CacheDir: job.CacheDir(), RunsDir: job.RunsDir(), ChatsDir: job.ChatsDir(), Theme: themeName, Memory: filepath.Join(job.StateDir(), "workbench.json"), ASCII: ascii, Owner: a.owner})
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := configure(cmd); err != nil {
				return err
			}
			if a.threads < 0 || a.threads > kernels.MaxThreads {
				return usagef("--threads %d is not between 1 and %d (0 means one per core)", a.threads, kernels.MaxThreads)
			}
			a.report = newReporter(a)
			return nil
		},
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON object a line; the last has \"type\":\"result\"")
	root.PersistentFlags().IntVar(&a.threads, "threads", 0, "compute threads (default: one per core)")
	root.Flags().BoolVar(&showVersion, "version", false, "print which nibble this is")
	root.Flags().StringVar(&base, "base", "", "float model that MODEL was made from, to open both in the workbench (default: what MODEL's report names)")
	root.Flags().StringVar(&themeName, "theme", "", "colours of the workbench: "+strings.Join(theme.Names(), ", ")+" (default: NIBBLE_THEME, or the config file's, or the one used last, or auto)")
	root.Flags().BoolVar(&ascii, "ascii", false, "draw the workbench with ASCII alone")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(a.infoCmd(), a.modelsCmd(), a.pullCmd(), a.planCmd(), a.quantizeCmd(), a.exportCmd(), a.evalCmd(), a.tuneCmd(), a.benchCmd(), a.logitsCmd(), a.runCmd(), a.chatCmd(), a.runsCmd(), a.configCmd(), a.versionCmd())
	root.SetOut(a.out)
	root.SetErr(a.err)
	addHelp(root)
	return root
}

// args checks the number of positional arguments.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		if cmd.HasParent() && cmd.HasSubCommands() && len(got) > 0 {
			return usagef("%q is no command of '%s'%s", got[0], cmd.CommandPath(), didYouMean(got[0], commandNames(cmd)))
		}
		if len(got) < least || len(got) > most {
			return usagef("'%s' takes %s, got %d", cmd.CommandPath(), argsText(cmd, least, most), len(got))
		}
		return nil
	}
}

func argsText(cmd *cobra.Command, least, most int) string {
	_, uses, _ := strings.Cut(cmd.Use, " ")
	switch {
	case most == 0:
		return "no arguments"
	case most == 1 && least == 1:
		return "one argument: " + uses
	case least == most:
		return fmt.Sprintf("%d arguments: %s", least, uses)
	}
	return fmt.Sprintf("%d to %d arguments: %s", least, most, uses)
}

func (a *app) workbench(ctx context.Context, o workbench.Options) error {
	ref := o.Model
	if !store.Known(ref) {
		return neither(ref, "")
	}
	if !a.tty || a.json {
		return usagef("the workbench needs a terminal; give a command, such as 'nibble info %s'", ref)
	}
	return workbench.Run(ctx, o)
}

// engine starts the compute threads.
func (a *app) engine() (*kernels.Engine, error) {
	eng, err := kernels.New(kernels.Options{Threads: a.threads})
	if errors.Is(err, kernels.ErrISA) {
		return nil, usagef("%w", err)
	}
	return eng, err
}

// loaded is a model ready to run, with what must be closed after it.
type loaded struct {
	ck  *model.Checkpoint
	eng *kernels.Engine
	m   *rt.Model
}

func (l *loaded) close() {
	l.eng.Close()
	l.ck.Close()
}

// open opens a model, which may have to be downloaded, and tells what of its files is
// not done as they say.
func (a *app) open(ctx context.Context, ref string) (*model.Checkpoint, error) {
	ck, err := store.Open(ctx, ref, a.downloads(ref))
	if err != nil {
		return nil, err
	}
	a.owner.Hint("") // of a download
	for _, n := range ck.Notes {
		a.note("%s: %s", ck.Name, n)
	}
	return ck, nil
}

// load opens a model, prepares its weights and selects kernels for it.
func (a *app) load(ctx context.Context, ref string) (*loaded, error) {
	ck, err := a.open(ctx, ref)
	if err != nil {
		return nil, err
	}
	eng, err := a.engine()
	if err != nil {
		ck.Close()
		return nil, err
	}
	l := &loaded{ck: ck, eng: eng}
	measured := false
	l.m, err = job.Load(ctx, eng, ck, kernels.SelectOptions{CacheDir: job.CacheDir(), Refresh: a.refresh}, func(e kernels.Event) {
		switch e := e.(type) {
		case kernels.ShapeMeasured:
			measured = true
		case kernels.Unkept:
			a.note("%s%s", unkept, e.Why)
		}
	})
	if measured {
		debug.FreeOSMemory() // the matrices that were made up for it
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}
