package workbench

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"nibble/eval"
	"nibble/ui/job"
	"nibble/ui/term"
)

// evaluateForm asks for an evaluation.
type evaluateForm struct {
	form
	goal, text, tasks, ctx, chunk *field
}

func newEvaluateForm() evaluateForm {
	f := evaluateForm{
		goal:  &field{label: "goal", empty: "1 %", help: "the loss of perplexity that the verdict is about, such as 0.5%", check: checks(term.ParsePercent)},
		text:  &field{label: "text", empty: "built-in prose, or stories for the demo", help: "a file of text to measure on, like what the model will be used for", check: readable},
		tasks: &field{label: "tasks", empty: "none; the demo's own for the demo", help: `files or directories of multiple-choice questions, commas between; "demo" is those of the demo`, check: checkTasks},
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
		if err := readable(name); name != job.DemoTasks && err != nil && !errors.Is(err, errNoFile) {
			return err
		}
	}
	return nil
}

// job is what the fields say; of an error the cursor is on the field.
func (f *evaluateForm) job() (job.Evaluate, error) {
	if err := f.err(); err != nil {
		return job.Evaluate{}, err
	}
	o := job.Evaluate{Text: f.text.path(), Tasks: taskNames(f.tasks.text()), Ctx: f.ctx.number(), Chunks: f.chunk.number()}
	o.Goal, _ = term.ParsePercent(f.goal.text()) // 0 if it is empty
	return o, nil
}

// start evaluates as the form says, or shows what is wrong with it.
func (p *evaluatePage) start() {
	p.a.at = slices.Index(p.a.pages, page(p))
	o, err := p.form.job()
	if p.form.open = err != nil; err != nil {
		p.a.s.fail(err)
		return
	}
	p.a.e.evaluate(o)
}
