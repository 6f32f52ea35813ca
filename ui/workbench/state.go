package workbench

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nibble/eval"
	"nibble/eval/report"
	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
	"nibble/tune"
	"nibble/ui/term"
)

// state is everything the screen shows. Only the update loop touches it.
type state struct {
	job     running
	message string    // the last thing worth saying
	said    time.Time // when
	failed  bool      // message is an error
	log     []logLine // what was said, the newest last

	model   modelState
	plan    planState
	eval    evalState
	kernel  kernelState
	tune    tuneState
	chat    chatState
	compare compareState
	models  modelsState
}

type running struct {
	name     string
	started  time.Time
	running  bool
	stopping bool
	paused   bool
	share    float64 // done, 0 to 1
	detail   string
	left     time.Duration
}

type modelState struct {
	ref       string
	loaded    bool
	config    model.Config
	name      string
	params    int64
	bytes     int64
	dtype     string
	tokenizer string
	template  bool
	quantized bool // the checkpoint itself is
	modules   []model.Module
	stored    map[string]string // how the checkpoint holds them, by name
	notes     []string

	recipe   string // of the INT4 model in use, "" if none
	inMemory bool   // that model is in no file
	report   quant.Report
	results  []evaluation // newest last

	working string          // the matrix in work, "" if none is
	total   int             // matrices that are quantized
	rate    float64         // weights quantized a second
	trained []quant.Trained // the last event of each training, in their order
	losses  []float64       // of the training in work, or the last
}

// evaluation is one measured model.
type evaluation struct {
	what string
	eval.Result
}

// evalState is what the last evaluation found.
type evalState struct {
	goal   float64 // that the verdict is about
	result *evaluation
	report *report.Report // where it is lost; nil until that is measured
}

type kernelState struct {
	cpu       kernels.CPU
	isa       kernels.ISA
	threads   int
	limits    kernels.Limits
	choices   []kernels.Choice
	kernels   []string
	forced    string
	measuring bool
	curve     []kernels.Choice // one matrix at every batch size
	decode    []decodeSpeed    // newest last
	done      int
	total     int
}

// decodeSpeed is how fast a model generated with a choice of kernels.
type decodeSpeed struct {
	kernel string // forced, "" for the measured choices
	tps    float64
}

type tuneState struct {
	started  bool
	running  bool
	phase    string
	goal     float64
	limits   string // in words, "" if there are none
	basePPL  float64
	trials   []tune.Trial
	current  *tune.Trial
	progress tune.TrialProgress
	best     *tune.Trial
	front    []tune.Point
	result   *tune.Result

	screen    screenState
	scores    map[string]map[string]tune.Score // by module and spec
	predicted []tune.Prediction
	explained tune.Explained
	plans     map[int]plan // by trial, filled when they are first shown
}

// screenState is how far screening is.
type screenState struct {
	module, spec string // in work; no spec while the errors of outputs are measured
	done, total  int    // specs of all matrices
	rate         float64
}

// ended takes over a result: a search that had ended before tells of nothing else.
func (t *tuneState) ended(res tune.Result) {
	t.result, t.trials, t.best, t.front, t.basePPL = &res, res.Trials, res.Best, res.Front, res.BasePPL
	t.explained = tune.Explained{Trial: res.Best.ID, Choices: res.Choices}
}

// plan is what a trial's recipe means for the matrices of the model.
type plan struct {
	specs []quant.Spec // in the order of modelState.modules
	text  string       // the specs counted, the most frequent first
}

// planOf works a recipe out once: it may have a rule for each matrix, too many to
// match them whenever the screen is drawn.
func (s *state) planOf(t tune.Trial) plan {
	if p, ok := s.tune.plans[t.ID]; ok {
		return p
	}
	p := plan{specs: make([]quant.Spec, len(s.model.modules))}
	count := map[quant.Spec]int{}
	var kinds []quant.Spec
	for i, m := range s.model.modules {
		spec := t.Recipe.For(m)
		p.specs[i] = spec
		if count[spec]++; count[spec] == 1 {
			kinds = append(kinds, spec)
		}
	}
	slices.SortStableFunc(kinds, func(a, b quant.Spec) int { return cmp.Compare(count[b], count[a]) })
	for i, spec := range kinds {
		if i > 0 {
			p.text += " · "
		}
		p.text += fmt.Sprintf("%d × %s", count[spec], spec)
	}
	if s.tune.plans == nil {
		s.tune.plans = map[int]plan{}
	}
	s.tune.plans[t.ID] = p
	return p
}

type chatState struct {
	turns    []chatTurn
	busy     bool
	useFloat bool // answer with the float model
	used     int
	limit    int
}

type chatTurn struct {
	user, answer string
	model        string
	stats        string
	pending      bool
	saved        bool // in a file
}

// say tells something in a line; it may hold foreign text.
func (s *state) say(text string) {
	s.message, s.said, s.failed = term.CleanLine(text), time.Now(), false
	s.note(s.message, false)
}

func (s *state) fail(err error) {
	s.message, s.failed = term.CleanLine(term.Shorten(firstLine(err.Error()))), true
	s.note(term.CleanLine(term.Shorten(err.Error())), true)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// jobStarted records that a job runs; what was said before it is history.
func (s *state) jobStarted(name string, at time.Time) {
	s.say("")
	s.job = running{name: name, started: at, running: true}
}

// jobEnded records how the running job ended.
func (s *state) jobEnded(err error, cancelled bool) {
	name := s.job.name
	s.job = running{}
	s.kernel.measuring, s.tune.running, s.chat.busy = false, false, false
	s.tune.current = nil
	for i := range s.chat.turns {
		s.chat.turns[i].pending = false
	}
	switch {
	case err == nil:
	case cancelled || errors.Is(err, errCancelled):
		s.say(name + " cancelled" + unfinished(err))
	default:
		s.fail(err)
	}
}

// int4 reports whether there is a quantized model to run.
func (s *state) int4() bool { return s.model.recipe != "" || s.model.quantized }

// activeModel names the model that answers in the chat.
func (s *state) activeModel() string {
	switch {
	case s.model.quantized:
		return "INT4"
	case s.model.recipe != "" && !s.chat.useFloat:
		return "INT4 " + s.model.recipe
	}
	return strings.TrimSpace(s.model.dtype + " float model")
}
