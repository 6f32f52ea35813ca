package workbench

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"nibble/eval"
	"nibble/eval/report"
	"nibble/model"
	"nibble/tune"
	"nibble/ui/request"
	"nibble/ui/term"
)

// evalOrder is what a model is measured on.
type evalOrder struct {
	goal  float64  // that the verdict is about; 0 is the tuner's
	text  string   // file; "" is what is built in
	tasks []string // files or directories of questions, or demoTasks
	ctx   int      // tokens of a window; 0 is the usual number
	chunk int      // windows; 0 is all
}

// demoTasks names the questions of the demo model.
const demoTasks = "demo"

// aim is the goal of the verdict.
func (o evalOrder) aim() float64 { return cmp.Or(o.goal, tune.DefaultGoal) }

// options reads what the order names, for a model.
func (o evalOrder) options(ck *model.Checkpoint, cacheDir string) (eval.Options, error) {
	e := eval.Options{Ctx: o.ctx, Chunks: o.chunk, Worst: report.DefaultWorst, CacheDir: cacheDir}
	var err error
	if e.Text, err = request.Text(o.text, ck, nil); err != nil {
		return e, err
	}
	for _, name := range o.tasks {
		set, err := loadTask(name)
		if err != nil {
			return e, err
		}
		e.Tasks = append(e.Tasks, set)
	}
	return e, nil
}

func loadTask(name string) (eval.TaskSet, error) {
	if name == demoTasks {
		return eval.DemoTask()
	}
	return eval.LoadTask(name)
}

// alike reports whether the float model answers two orders alike: the goal is not
// its business.
func (o evalOrder) alike(other evalOrder) bool {
	return o.text == other.text && slices.Equal(o.tasks, other.tasks) && o.ctx == other.ctx && o.chunk == other.chunk
}

// evalForm takes the order for an evaluation.
type evalForm struct {
	form
	goal, text, tasks, ctx, chunk *field
}

func newEvalForm() evalForm {
	f := evalForm{
		goal:  &field{label: "goal", empty: "1 %", help: "the loss of perplexity that the verdict is about, such as 0.5%", check: checks(term.ParsePercent)},
		text:  &field{label: "text", empty: "built-in prose, or stories for the demo", help: "a file of text to measure on, like what the model will be used for", check: readable},
		tasks: &field{label: "tasks", empty: "none", help: `files or directories of multiple-choice questions, commas between; "demo" is those of the demo`, check: checkTasks},
		ctx:   &field{label: "window", empty: fmt.Sprintf("%d tokens, or the model's context", eval.DefaultCtx), help: "tokens of a window, the first half of which is not scored", check: atLeast(4)},
		chunk: &field{label: "windows", empty: "all", help: "how many windows of the text to score", check: atLeast(1)},
	}
	f.fields = []*field{f.goal, f.text, f.tasks, f.ctx, f.chunk}
	return f
}

// taskNames are the names in a value, which has commas between them.
func taskNames(value string) []string {
	var names []string
	for name := range strings.SplitSeq(value, ",") {
		if name = (&field{value: name}).path(); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// checkTasks checks that a value names questions.
func checkTasks(value string) error {
	for _, name := range taskNames(value) {
		// A directory holds them under a name of its own.
		if err := readable(name); name != demoTasks && err != nil && !errors.Is(err, errNoFile) {
			return err
		}
	}
	return nil
}

// order is what the fields say; of an error the cursor is on the field.
func (f *evalForm) order() (evalOrder, error) {
	if err := f.err(); err != nil {
		return evalOrder{}, err
	}
	o := evalOrder{text: f.text.path(), tasks: taskNames(f.tasks.text()), ctx: f.ctx.number(), chunk: f.chunk.number()}
	o.goal, _ = term.ParsePercent(f.goal.text()) // 0 if it is empty
	return o, nil
}

// start evaluates as the form says, or shows what is wrong with it.
func (p *evaluatePage) start() {
	p.a.at = slices.Index(p.a.pages, page(p))
	o, err := p.form.order()
	if p.form.open = err != nil; err != nil {
		p.a.s.fail(err)
		return
	}
	p.a.e.evaluate(o)
}
