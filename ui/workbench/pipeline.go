package workbench

import (
	"cmp"
	"fmt"
	"strings"

	"nibble/eval"
	"nibble/ui/chart"
	"nibble/ui/term"
)

// stage is one station of the pipeline.
type stage struct {
	name, state string
	running     bool
	done        bool
}

// stages derives the pipeline from the state.
func (a *app) stages() []stage {
	s := a.s
	waiting := func(name string) stage { return stage{name: name, state: "○ waiting"} }
	running := func(name string) stage {
		return stage{name: name, state: fmt.Sprintf("● %.0f %%", 100*s.job.share), running: true}
	}
	done := func(name, text string) stage { return stage{name: name, state: "✓ " + text, done: true} }

	base := waiting("FP32 model")
	if s.model.quantized {
		base.state = "○ not open"
	} else if s.model.loaded {
		base = done("FP32 model", term.Bytes(s.model.bytes))
	} else if s.job.name == "loading" {
		base = running("FP32 model")
	}
	quantized := waiting("quantize")
	switch {
	case s.job.name == "quantizing":
		quantized = running("quantize")
	case s.model.recipe != "":
		quantized = done("quantize", fmt.Sprintf("%.2f bpw", s.model.report.BPW))
	}
	evaluated := waiting("evaluate")
	if n := len(s.model.results); s.job.name == "evaluating" {
		evaluated = running("evaluate")
	} else if n > 0 {
		evaluated = done("evaluate", fmt.Sprintf("ppl %.2f", s.model.results[n-1].PPL))
	}
	tuned := waiting("tune")
	switch {
	case s.tune.running && s.job.paused:
		tuned = stage{name: "tune", state: "‖ paused", running: true}
	case s.tune.running && len(s.tune.trials) == 0 && s.tune.current == nil:
		tuned = running("tune")
	case s.tune.running:
		tuned = stage{name: "tune", state: fmt.Sprintf("● trial %d", len(s.tune.trials)+1), running: true}
	case s.tune.best != nil:
		tuned = done("tune", term.Percent(s.tune.best.Loss()))
		if v := s.tune.best.Verdict(s.tune.goal); s.tune.goal > 0 && v.Word != eval.Reached {
			tuned.state = verdictMarks[v.Word] + " " + term.Percent(v.Loss)
		}
	}
	int4 := waiting("INT4 model")
	switch {
	case s.model.quantized:
		int4 = done("INT4 model", term.Bytes(s.model.bytes))
	case s.model.recipe != "":
		int4 = done("INT4 model", term.Bytes(s.model.report.SizeBytes))
	}
	selected := waiting("kernels")
	switch {
	case s.kernel.measuring:
		selected = stage{name: "kernels", state: fmt.Sprintf("● %d of %d", s.kernel.done, s.kernel.total), running: true}
	case len(s.kernel.choices) > 0:
		selected = done("kernels", string(s.kernel.isa))
	}
	talk := waiting("chat")
	switch {
	case s.chat.busy:
		talk = stage{name: "chat", state: "● answering", running: true}
	case len(s.chat.turns) > 0:
		talk = done("chat", counted(len(s.chat.turns), "turn"))
	case s.model.loaded:
		talk.state = "○ ready"
	}
	return []stage{base, quantized, evaluated, tuned, int4, selected, talk}
}

// links join the stages: the tuner loops back over quantization and evaluation,
// the kernel selector feeds the runtime.
var links = []string{"▸", "▸", "⟲", "▸", "◂", "▸"}

// shortNames are those of the stages on a narrow screen.
var shortNames = map[string]string{"FP32 model": "FP32", "INT4 model": "INT4", "quantize": "quant", "evaluate": "eval"}

// twoLines is the height from which on the pipeline takes two lines.
const twoLines = 16

// ribbon is the pipeline in two lines: names over states. On a low screen it is one, of
// what is known.
func (a *app) ribbon() []string {
	stages := a.stages()
	if a.w < framedWidth {
		for i, st := range stages {
			stages[i].name = cmp.Or(shortNames[st.name], st.name)
		}
	}
	if a.h < twoLines {
		var parts []string
		for _, st := range stages {
			if st.done || st.running {
				parts = append(parts, a.th.Title.Render(st.name)+" "+st.state)
			}
		}
		return []string{" " + strings.Join(parts, a.th.Dim.Render(" · "))}
	}
	width := a.w / len(stages)
	var names, states strings.Builder
	for i, st := range stages {
		link := " "
		if i < len(links) {
			link = links[i]
		}
		names.WriteString(a.th.Title.Render(chart.Fit([]string{" " + st.name}, width-2, 1)[0]) + a.th.Dim.Render(link) + " ")
		text := chart.Fit([]string{" " + st.state}, width, 1)[0]
		switch {
		case st.running:
			text = a.th.Accent.Render(text)
		case st.done:
			text = a.th.Good.Render(text)
		default:
			text = a.th.Dim.Render(text)
		}
		states.WriteString(text)
	}
	return []string{names.String(), states.String()}
}

// counted is a number of things: "1 turn", "2 turns".
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
