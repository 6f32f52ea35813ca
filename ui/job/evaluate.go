package job

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"nibble/eval"
	"nibble/model"
	"nibble/quant"
	"nibble/tune"
)

// Evaluate asks what a model is measured on.
type Evaluate struct {
	Goal   float64  // loss of perplexity that the verdict is about; 0 is the tuner's
	Text   string   // file; "" is what is built in
	Tasks  []string // files or directories of questions, or DemoTasks
	Ctx    int      // tokens of a window; 0 is the usual number
	Chunks int      // windows; 0 is all
}

// DemoTasks names the questions that are built in, for the demo model.
const DemoTasks = "demo"

// Aim is the goal of the verdict.
func (e Evaluate) Aim() float64 { return cmp.Or(e.Goal, tune.DefaultGoal) }

// For reads what the job names, for a model; stdin is as in Calibration.Read. The
// demo, on its own text, answers its questions unless others are given.
func (e Evaluate) For(ck *model.Checkpoint, cacheDir string, stdin io.Reader) (eval.Options, error) {
	o := eval.Options{Ctx: e.Ctx, Chunks: e.Chunks, CacheDir: cacheDir}
	var err error
	if o.Text, err = Text(e.Text, ck, stdin); err != nil {
		return o, err
	}
	names := e.Tasks
	if len(names) == 0 && e.Text == "" && eval.IsDemo(ck) {
		names = []string{DemoTasks}
	}
	for _, name := range names {
		set, err := readTask(name)
		if err != nil {
			return o, err
		}
		o.Tasks = append(o.Tasks, set)
	}
	return o, nil
}

func readTask(name string) (eval.TaskSet, error) {
	if name == DemoTasks {
		return eval.DemoTask()
	}
	return eval.LoadTask(name)
}

// Text is the text of a file, of standard input as in Calibration.Read, or the one
// that is built in for a model.
func Text(path string, ck *model.Checkpoint, stdin io.Reader) (eval.Text, error) {
	if path == "" {
		return eval.DefaultText(ck), nil
	}
	return eval.ReadText(path, stdin)
}

// SameBase reports whether the float model answers two jobs alike: the goal is not its
// business.
func (e Evaluate) SameBase(other Evaluate) bool {
	return e.Text == other.Text && slices.Equal(e.Tasks, other.Tasks) && e.Ctx == other.Ctx && e.Chunks == other.Chunks
}

// TextNotes are what could surprise about a text before work: that it is a default, a
// shorter window than was asked for.
func TextNotes(path string, ck *model.Checkpoint, o eval.Options) []string {
	var notes []string
	if path == "" && !eval.IsDemo(ck) {
		notes = append(notes, fmt.Sprintf("measured on nibble's %s, since no other text is given; a text like your own use says more", o.Text.Name))
	}
	if o.Ctx > ck.Config.Positions {
		notes = append(notes, fmt.Sprintf("windows of %d tokens, the model's context, instead of %d", ck.Config.Positions, o.Ctx))
	}
	return notes
}

// SeenNote says that a model was calibrated with the text that it is measured on; "" if
// it was not, or if that is not known.
func SeenNote(made *quant.Report, text eval.Text) string {
	if made == nil || made.Calibration == nil {
		return ""
	}
	return made.Calibration.SeenNote(text.Data)
}
