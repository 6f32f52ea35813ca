package workbench

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"nibble/eval"
	"nibble/eval/report"
	"nibble/kernels"
	"nibble/model"
	"nibble/model/store"
	"nibble/quant"
	"nibble/tune"
	"nibble/ui/job"
	"nibble/ui/term"
)

// fake stands in for the engines: it notes what was asked for.
type fake struct {
	calls []string
	job   string // the running job, "" if none
	mail  *mailbox

	prospect quant.Prospect // what plan finds
	planErr  error
}

func newFake() *fake {
	return &fake{mail: newMailbox(), prospect: quant.Prospect{Plan: quant.Plan{Quantized: 21, QuantizedParams: 1_100_000, SizeBytes: 655_123, BPW: 4.245, DiskBytes: 800_000, PeakRSSBytes: 93_000_000, Seconds: 12.3,
		Modules: make([]quant.PlannedModule, 22), Substitutions: []string{"model.embed_tokens is kept as stored: name it in a rule to quantize it", "what a file says: " + hostile, strings.Repeat("a long note ", 40)}},
		Calibration: &quant.Calibration{Name: "some " + hostile, Samples: 32, Length: 512}}}
}

func (f *fake) note(format string, args ...any) {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *fake) listModels()       { f.note("list models") }
func (f *fake) switchTo(r string) { f.note("switch to %s", r) }
func (f *fake) load()             { f.note("load") }
func (f *fake) evaluate(o job.Evaluate) {
	f.note("%s", strings.TrimSpace("evaluate "+strings.Join(o.Tasks, " ")))
}
func (f *fake) tune(o job.Tune) {
	limits, _ := o.Limits()
	f.note("%s", strings.TrimSpace("tune "+job.LimitsText(limits)+o.Text))
}
func (f *fake) pause()                       { f.note("pause") }
func (f *fake) use(t tune.Trial)             { f.note("use %d", t.ID) }
func (f *fake) measureKernels()              { f.note("measure") }
func (f *fake) measureCurve(s kernels.Shape) { f.note("curve %dx%d", s.N, s.K) }
func (f *fake) force(kernel string)          { f.note("force %s", kernel) }
func (f *fake) send(r chatRequest) {
	f.note("send %s float=%v after %d", r.text, r.useFloat, len(r.before))
}

// plan finds at once what there is to find.
func (f *fake) plan(o job.Quantize) {
	f.note("plan %s", o.Recipe)
	f.mail.fact(func(s *state) {
		s.plan = planState{order: o, known: true, recipe: quant.DefaultRecipe(), prospect: f.prospect, err: f.planErr}
	})
}

func (f *fake) quantize(o job.Quantize) {
	f.note("quantize %s to %q with %q, %d x %d, restart=%v", o.Recipe, o.Out, o.Calibration.Path, o.Calibration.Samples, o.Calibration.Length, o.Restart)
}

func (f *fake) compare(r compareRequest) { f.note("compare %s after %v", r.text, r.begun) }
func (f *fake) improve(recipe quant.Recipe, r compareRequest) {
	f.note("improve by %s and compare %s", recipe, r.text)
}
func (f *fake) cancel() bool  { f.note("cancel"); return f.job != "" }
func (f *fake) busy() string  { return f.job }
func (f *fake) box() *mailbox { return f.mail }

// hostile is text as a model or a file could hold it.
const hostile = "\x1b[2J\x1b]0;owned\a wide 漢字 and \u202eback\x00\x7f"

// screens are the states a user can meet, by name.
var screens = map[string]func(s *state){
	"empty":   func(s *state) { s.model.ref = "demo" },
	"loaded":  loaded,
	"kernels": func(s *state) { loaded(s); measured(s) },
	"screening": func(s *state) {
		loaded(s)
		measured(s)
		screening(s)
		s.job = running{name: "tuning", running: true, paused: true, started: time.Now().Add(-90500 * time.Millisecond), share: 0.62, left: 41 * time.Second}
		for _, m := range s.model.modules[15:] {
			delete(s.tune.scores, m.Name)
		}
		s.tune.screen = screenState{s.model.modules[14].Name, "w4 g32 sym gptq", 302, 484, 4.63}
	},
	"tuning":     func(s *state) { loaded(s); measured(s); tuning(s) },
	"models":     func(s *state) { loaded(s); listed(s) },
	"tuned":      func(s *state) { loaded(s); measured(s); tuned(s); chatting(s); compared(s) },
	"evaluating": func(s *state) { loaded(s); evaluating(s) },
	"evaluated":  func(s *state) { loaded(s); evaluating(s); evaluated(s) },
	"training":   func(s *state) { loaded(s); training(s) },
	"quantized":  func(s *state) { loaded(s); training(s); quantized(s) },
	"failed": func(s *state) {
		loaded(s)
		s.fail(errors.New("/models/a: tensor model.norm.weight: " + hostile + "\nsecond line"))
	},
}

// llama is the config of a small model with some layers.
func llama(layers int) model.Config {
	c, err := model.ParseConfig(fmt.Appendf(nil, `{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 1024, "hidden_size": 128, "num_hidden_layers": %d,
		"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 352, "max_position_embeddings": 512}`, layers), nil)
	if err != nil {
		panic(err)
	}
	return c
}

func loaded(s *state) {
	c := llama(3)
	s.model = modelState{ref: "demo", loaded: true, config: c, name: "demo", params: 1_234_567, bytes: 2_469_134, dtype: "BF16", tokenizer: "byte-level BPE",
		template: true, modules: c.Modules(), notes: []string{"the chat template is missing"}}
	s.kernel.cpu = kernels.CPU{Name: "Test CPU 9000", Cores: 2, Features: []string{"AVX2", "AVX512F", "AVX512VNNI"}}
	s.kernel.isa, s.kernel.threads, s.kernel.kernels = "avx512vnni", 2, []string{"avx2 8x2", "avx512vnni 16x4"}
}

// evaluating has compared the models and looks for where they differ.
func evaluating(s *state) {
	s.model.recipe = "w4 g32 sym mse"
	s.job = running{name: "evaluating", started: time.Now().Add(-4500 * time.Millisecond), running: true, share: 0.42, detail: "layers: 5 of 12, 3.10 a second", left: 3 * time.Second}
	res := eval.Result{PPL: 4.8925, PPLSE: 0.0651, Tokens: 19890, Ctx: 512, Comparison: &eval.Comparison{BasePPL: 4.8443, BasePPLSE: 0.0644, PPLRatio: 1.0183, PPLRatioSE: 0.001,
		KLDMean: 0.01037, KLDSE: 0.00011, KLDP99: 0.0731, SameTop: 0.9476, SameTopSE: 0.0016, RMSDP: 0.0328}}
	for i, context := range []string{"But when the library was not big, there was no long", hostile + " " + hostile, "Once", strings.Repeat("a long context ", 30)} {
		res.WorstTokens = append(res.WorstTokens, eval.WorstToken{KLD: 0.53 / float64(i+1), Context: context, Token: eval.Guess{Text: "er" + hostile, P: 0.3, BaseP: 0.79},
			Says:     []eval.Guess{{Text: ".", P: 0.667}, {Text: "er" + hostile, P: 0.301}, {Text: "\n", P: 0.005}},
			BaseSays: []eval.Guess{{Text: "er", BaseP: 0.798}, {Text: ".", BaseP: 0.188}, {Text: " on", BaseP: 0.002}}})
	}
	for i := range 3 {
		res.Tasks = append(res.Tasks, eval.TaskResult{Name: fmt.Sprintf("task %d%s", i, hostile), N: 150, Acc: 0.34, AccSE: 0.039, AccNorm: 0.36, AccNormSE: 0.04,
			TaskComparison: &eval.TaskComparison{BaseAcc: 0.36, Flips: 7, Worse: 5, Better: 2, PValue: 0.453}})
	}
	res.Notes = []string{"windows of 512 tokens, the model's context"}
	s.eval.goal = 0.01
	s.eval.result = &evaluation{"w4 g32 sym mse", res}
}

// evaluated knows where they differ, and what to do.
func evaluated(s *state) {
	s.job = running{}
	d := &eval.Damage{Windows: 6, Tokens: 1530, KLD: 0.0104, KLDSE: 0.0003, Sum: 0.0225, Parts: []eval.PartDamage{{Name: "model.embed_tokens", Layer: -1, KLD: 0.00728, KLDSE: 0.0002, Share: 0.323}}}
	for i := range s.model.config.Layers() {
		part := eval.PartDamage{Name: fmt.Sprintf("layer %d", i), Layer: i, KLD: 0.0054 / float64(i+1), KLDSE: 0.00017, Share: 0.24 / float64(i+1)}
		for _, m := range s.model.modules {
			if m.Layer == i {
				part.Matrices = append(part.Matrices, eval.MatrixDamage{Module: m.Name, KLD: part.KLD / 7, Share: part.Share / 7})
			}
		}
		d.Parts = append(d.Parts, part)
	}
	parted := &eval.Parted{Says: eval.Guess{Text: " big", P: 0.41, BaseP: 0.35}, BaseSays: eval.Guess{Text: " red" + hostile, P: 0.3, BaseP: 0.44}}
	s.eval.report = &report.Report{Damage: d, Remarks: []string{"a remark about " + hostile},
		Advice: []report.Advice{{Text: "down_proj of layer 0 causes 24 % of the damage; giving it 8 bits would cost 0.18 bpw and bring the KL divergence from 0.01040 to 0.00790 (measured on 6 windows), a loss of about +0.77 %: reached",
			Recipe: "w4 g32 sym mse; model.layers.0.mlp.down_proj w8 g32 sym rtn", SizeBytes: 852_000, BPW: 6.05, BPWChange: 0.18, KLD: 0.0079, KLDBefore: 0.0104, Loss: 0.0077},
			{Text: "autoround instead of mse usually loses less at the same size; it was not tried, because it takes about 53 s", Recipe: "w4 g32 sym autoround", SizeBytes: 831_000, BPW: 5.87}},
		Continuations: []eval.Continuation{
			{Prompt: "Once upon a time, there was", Same: " a dog named Max. He had a", SameTokens: 9, Says: " big ball and he liked to play with it in the park every day.", BaseSays: " red ball. " + hostile, Part: parted},
			{Prompt: "One day, " + hostile, Same: strings.Repeat("they said the same all the time ", 12), SameTokens: 48},
		}}
}

// training is in the second layer of a quantization.
func training(s *state) {
	s.job = running{name: "quantizing", started: time.Now().Add(-12500 * time.Millisecond), running: true, share: 0.45, detail: "training layer 1", left: 9 * time.Second}
	m := &s.model
	for i, mod := range m.modules[:8] {
		spec := "w4 g32 sym autoround"
		r := quant.ModuleReport{Module: mod.Name, Spec: spec, Stats: quant.Stats{RelErr: 0.08, OutErr: 0.02 + 0.004*float64(i*3%7), OutErrRTN: 0.09}}
		if i == 0 {
			r = quant.ModuleReport{Module: mod.Name, Spec: quant.Keep.String()}
		}
		m.report.Modules = append(m.report.Modules, r)
	}
	m.working, m.rate, m.total = m.modules[10].Name, 123_456, 22
	for layer := range 2 {
		for i := range 120 {
			m.train(quant.Trained{Layer: layer, Iteration: i + 1, Iterations: 200, Before: 0.0123, Loss: 0.0123 * math.Exp(-float64(i)/40), Seconds: float64(i), Estimate: 9})
		}
	}
}

// quantized is what training leads to.
func quantized(s *state) {
	s.job = running{}
	m := &s.model
	m.working, m.rate, m.recipe = "", 0, "w4 g32 sym autoround"
	for i, mod := range m.modules[8:] {
		m.report.Modules = append(m.report.Modules, quant.ModuleReport{Module: mod.Name, Spec: m.recipe, Stats: quant.Stats{RelErr: 0.08, OutErr: 0.03 + 0.004*float64(i*3%7), OutErrRTN: 0.09}})
	}
	m.report.SizeBytes, m.report.BPW = 655_123, 4.245
	m.report.Recipe.Default = quant.Spec{Bits: 4, Group: 32, Sym: true, Method: quant.AutoRound}
	m.report.Calibration = &quant.Calibration{Name: "my " + hostile, Samples: 32, Length: 512, Notes: []string{"little text " + hostile}}
	m.results = []evaluation{{what: m.recipe, Result: eval.Result{PPL: 5.07, PPLSE: 0.04, Tokens: 9000, Ctx: 256}}}
	s.say("INT4 model ready")
}

func measured(s *state) {
	s.kernel.limits = kernels.Limits{BandwidthGBs: 41.5, PeakGOPS: 940, PeakGFLOPS: 235}
	choice := func(n, k, m int) kernels.Choice {
		shape := kernels.Shape{Op: "matmul", Format: "w4 g32 sym", N: n, K: k, M: m, Threads: 2}
		ms := []kernels.Measurement{
			{Kernel: "avx512vnni 16x4", ISA: "avx512vnni", Workers: 2, Block: 16, NS: 1800 * float64(m), GOPS: 200 + 100*math.Log2(float64(m)), GBs: 60 / float64(m), OK: true},
			{Kernel: "avx512vnni 16x4", ISA: "avx512vnni", Workers: 1, Block: 16, NS: 2100 * float64(m), GOPS: 180 + 40*math.Log2(float64(m)), GBs: 50 / float64(m), OK: true},
			{Kernel: "avx2 8x2", ISA: "avx2", Workers: 2, Block: 16, NS: 5200 * float64(m), GOPS: 90, GBs: 20 / float64(m), OK: true},
			{Kernel: "avx2 8x3", ISA: "avx2", Workers: 2, Block: 16, NS: 5000 * float64(m), GOPS: 95, OK: false, Note: "excluded: its result differs from the reference"},
		}
		return kernels.Choice{Shape: shape, Kernel: ms[0].Kernel, ISA: ms[0].ISA, Workers: 2, Block: 16, Roofline: 61, Candidates: ms,
			Reason: "avx512vnni 16x4: 1.17x the next (avx512vnni 16x4 alone), 61 % of read bandwidth"}
	}
	for _, m := range []int{1, 4, 16, 64, 256} {
		s.kernel.choices = append(s.kernel.choices, choice(352, 128, m), choice(128, 352, m))
	}
	for _, m := range curveSizes() {
		s.kernel.curve = append(s.kernel.curve, choice(352, 128, m))
	}
	s.kernel.decode = []decodeSpeed{{"", 5321}, {"avx2 8x2", 2100}}
}

func tuning(s *state) {
	s.job = running{name: "tuning", started: time.Now().Add(-61500 * time.Millisecond), running: true, share: 0.37, detail: "trial 8", left: 42 * time.Second}
	screening(s)
	s.tune.phase = "recipes of the predicted front, measured"
	small := quant.DefaultRecipe()
	large := quant.Recipe{Default: small.Default, Rules: []quant.Rule{{Match: "*", Spec: quant.Spec{Bits: 4, Group: 32, Sym: true, Method: quant.GPTQ}},
		{Match: "down_proj", Spec: quant.Spec{Bits: 8, Group: 32, Sym: true, Method: quant.RTN}}}}
	for i := range 7 {
		t := tune.Trial{ID: i + 1, Phase: "tuned", Recipe: small, State: tune.Missed, SizeBytes: 700_000 + int64(i)*9000, BPW: 4.5 + float64(i)/10,
			PPL: 5.1, PPLRatio: 1.02 - float64(i)/400, PPLRatioSE: 0.001, KLD: 0.01, KLDSE: 0.0005, SameTop: 0.95, Windows: 20, WindowsInText: 20, Tokens: 5100, DecodeTPS: 5000, Seconds: 3.2,
			Predicted: &tune.Prediction{SizeBytes: 700_000 + int64(i)*9000, BPW: 4.5 + float64(i)/10, KLD: 0.012, Loss: 0.017 - float64(i)/450, DecodeTPS: 4900}}
		switch {
		case i == 2:
			t.State, t.PPLRatio, t.PPL, t.Note = tune.Failed, math.NaN(), math.NaN(), "not finite: "+hostile
		case i == 5:
			t.State, t.PPLRatio = tune.Stopped, 1.018
		case i == 6:
			t.State, t.Recipe = tune.Reached, large
		}
		s.tune.trials = append(s.tune.trials, t)
	}
	for i := range 12 {
		s.tune.predicted = append(s.tune.predicted, tune.Prediction{SizeBytes: 680_000 + int64(i)*8000, Loss: 0.03 / float64(i+1)})
	}
	s.tune.best = &s.tune.trials[6]
	s.tune.current = &tune.Trial{ID: 8, Phase: "front", Recipe: small, State: tune.Running, SizeBytes: 727_000, BPW: 4.81}
	s.tune.progress = tune.TrialProgress{ID: 8, Done: 5, Total: 20, PPLRatio: 1.01, PPLRatioSE: 0.002}
	s.tune.front = tune.Front(s.tune.trials)
}

// screening has scored some specs for some matrices.
func screening(s *state) {
	s.tune = tuneState{started: true, running: true, phase: "every spec for each matrix, all else float", goal: 0.01, basePPL: 5.03, scores: map[string]map[string]tune.Score{}}
	for i, m := range s.model.modules {
		scores := map[string]tune.Score{}
		for j, spec := range []string{quant.DefaultRecipe().Default.String(), "w8 g32 sym rtn", "w4 g32 sym gptq"} {
			if i%5 != 4 {
				scores[spec] = tune.Score{Matrix: m.Name, Spec: spec, KLD: 0.0003 * float64(i%7) / float64(j+1), Bytes: int64(m.Rows * m.Cols / 2 * (1 + j%2))}
			}
		}
		s.tune.scores[m.Name] = scores
	}
}

func tuned(s *state) {
	tuning(s)
	s.job = running{}
	s.tune.running, s.tune.current, s.tune.explained.Trial = false, nil, s.tune.best.ID
	for i, m := range s.model.modules {
		s.tune.explained.Choices = append(s.tune.explained.Choices, tune.Choice{Matrix: m.Name, Spec: s.tune.best.Recipe.For(m).String(), Bytes: 20_000 + int64(i), KLD: 0.0001 * float64(i),
			Why: fmt.Sprintf("adds %.2g to the KL divergence for %d bytes; w4 g64 sym gptq would save 1200 bytes and add 0.0021, 43 %% of what these bytes would save elsewhere; nothing offered is more accurate", 0.0001*float64(i), 20_000+i)})
	}
	s.tune.result = &tune.Result{BasePPL: 5.03, Trials: s.tune.trials, Front: s.tune.front, Best: s.tune.best, Verdict: s.tune.best.Verdict(0.01), Reached: true, StoppedBy: "done", Seconds: 79, Path: "/models/" + hostile}
	s.model.recipe, s.model.report = "w4 g32 sym mse", quant.Report{Recipe: quant.DefaultRecipe(), SizeBytes: 707_000, BPW: 4.62}
	s.model.results = []evaluation{{what: "INT4", Result: eval.Result{PPL: 5.07, PPLSE: 0.04, Tokens: 9000, Ctx: 256}}}
	s.say("goal reached: 707 kB at +0.82 %")
}

func chatting(s *state) {
	s.chat.turns = []chatTurn{{user: "Tell me a story about a dog named Max.", answer: "Once upon a time there was a dog.\nHis name was Max. " + term.Clean(hostile), model: "INT4", stats: "31 tokens, 5321 tokens/s"},
		{user: "And then?", pending: true}}
	s.chat.used, s.chat.limit = 80, 512
}

// listed has found models of three kinds.
func listed(s *state) {
	s.models = modelsState{asked: true, known: true, list: []store.Entry{
		{Ref: "org/Small-0.5B", Store: "hub", Arch: "Qwen2ForCausalLM", Format: "safetensors", DType: "BF16", Params: 494_000_000, SizeBytes: 988_000_000, Opens: true},
		{Ref: "/models/" + hostile, Store: "directory", Arch: "Xyz", Format: "safetensors", SizeBytes: 5, Reason: "architecture Xyz: not read " + hostile},
		{Ref: "llama3.2:latest", Store: "ollama", Arch: "llama", Format: "gguf", DType: "Q4_K", Params: 3_210_000_000, SizeBytes: 2_020_000_000, Opens: true},
	}}
}

// compared has compared answers of ten tokens that part at the seventh.
func compared(s *state) {
	s.compare = compareState{request: compareRequest{text: "Tell me a story" + hostile}, float: side{"BF16 float", "", "10 tokens"}, int4: side{"INT4 w4 g32 sym mse", "", "10 tokens"}, split: 6, seed: 7, temp: 0.7}
	for i := range 10 {
		kld := 0.001 * float64(i%3)
		if i == 6 {
			kld = 0.2
		}
		word := eval.Guess{ID: int32(i), Text: fmt.Sprintf(" word%d", i), P: 0.4, BaseP: 0.5}
		other := eval.Guess{ID: int32(100 + i), Text: " other" + hostile, P: 0.6, BaseP: 0.3}
		s.compare.steps = append(s.compare.steps, eval.Step{Token: word, KLD: kld, Says: []eval.Guess{other, word}, BaseSays: []eval.Guess{word, other}}.Clean(term.Clean))
		s.compare.own = append(s.compare.own, s.compare.steps[i])
	}
	s.compare.own[6].Token = s.compare.steps[6].Says[0]
}
