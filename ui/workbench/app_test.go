package workbench

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"nibble/quant"
)

var update = flag.Bool("update", false, "rewrite the golden screens")

func testApp(screen string) (*app, *fake) {
	f := newFake()
	a := newApp(f)
	screens[screen](a.s)
	return a, f
}

// press sends keys, by bubbletea's names or as single characters.
func press(a *app, keys ...string) (quit bool) {
	named := map[string]tea.KeyType{"tab": tea.KeyTab, "enter": tea.KeyEnter, "esc": tea.KeyEsc, "ctrl+c": tea.KeyCtrlC, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight, "home": tea.KeyHome, "up": tea.KeyUp, "end": tea.KeyEnd,
		"backspace": tea.KeyBackspace, "ctrl+u": tea.KeyCtrlU, "ctrl+r": tea.KeyCtrlR, "ctrl+o": tea.KeyCtrlO, "ctrl+y": tea.KeyCtrlY, "ctrl+s": tea.KeyCtrlS, "ctrl+a": tea.KeyCtrlA, "ctrl+w": tea.KeyCtrlW, "ctrl+j": tea.KeyCtrlJ, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "f1": tea.KeyF1, "ctrl+p": tea.KeyCtrlP, "ctrl+l": tea.KeyCtrlL}
	for _, k := range keys {
		msg := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)}
		if t, ok := named[k]; ok {
			msg = tea.KeyMsg{Type: t}
		} else if bare, alt := strings.CutPrefix(k, "alt+"); alt {
			msg = tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(bare), Alt: true}
		}
		_, cmd := a.Update(msg)
		if cmd != nil {
			_, isQuit := cmd().(tea.QuitMsg)
			quit = quit || isQuit
		}
		for _, c := range a.e.box().drain() {
			c(a.s)
		}
	}
	return quit
}

// Every page fills every size of screen exactly, in every state, and lets no
// control character through. A key that changes nothing on a page shows nothing new.
func TestScreensFillTheTerminal(t *testing.T) {
	for name := range screens {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := range 7 {
				plain := ""
				for _, key := range []string{"", "?", "z", "o"} { // the help and the forms
					a, _ := testApp(name)
					a.at = at
					press(a, key)
					a.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
					if view := a.View(); key == "" {
						plain = view
					} else if view == plain {
						continue
					}
					for _, w := range []int{1, 20, 39, 40, 53, 79, 80, 81, 99, 100, 101, 119, 120, 150, 220, 300} {
						for _, h := range []int{1, 5, 9, 10, 11, 12, 13, 17, 24, 35, 36, 40, 70} {
							a.Update(tea.WindowSizeMsg{Width: w, Height: h})
							checkScreen(t, fmt.Sprintf("%s, page %d, key %q, %dx%d", name, at, key, w, h), a.View(), w, h)
							if t.Failed() {
								return
							}
						}
					}
				}
			}
		})
	}
}

// styles are the only control sequences that a screen may hold.
var styles = regexp.MustCompile(`\x1b\[[0-9;:]*m`)

func checkScreen(t *testing.T, what, view string, w, h int) {
	t.Helper()
	lines := strings.Split(view, "\n")
	if len(lines) != h {
		t.Errorf("%s: %d lines", what, len(lines))
	}
	for i, l := range lines {
		if got := ansi.StringWidth(l); got != w {
			t.Errorf("%s: line %d is %d wide: %q", what, i, got, l)
		}
		for _, r := range styles.ReplaceAllString(l, "") {
			if unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x206f {
				t.Errorf("%s: line %d holds %q", what, i, r)
			}
		}
	}
}

// The clock ticks while a job runs, and wakes nobody otherwise.
func TestTick(t *testing.T) {
	a, f := testApp("loaded")
	if _, cmd := a.Update(tickMsg{}); cmd != nil {
		t.Error("an idle workbench ticks")
	}
	f.mail.fact(func(s *state) { s.job.running = true })
	a.Update(batchMsg{})
	if !a.ticking {
		t.Error("a job does not start the clock")
	}
	if _, cmd := a.Update(tickMsg{}); cmd == nil {
		t.Error("the clock of a running job stopped")
	}
}

// What is said while a job runs is shown for a while over its progress; what was
// said, or failed, before the job is gone.
func TestNews(t *testing.T) {
	a, f := testApp("failed")
	f.mail.fact(func(s *state) { s.jobStarted("tuning", time.Now()) })
	a.Update(batchMsg{})
	if got := ansi.Strip(a.status()); !strings.Contains(got, "● tuning") {
		t.Errorf("when a job starts the status is %q", got)
	}
	a.s.say("tuning is running")
	if got := ansi.Strip(a.status()); !strings.Contains(got, "tuning is running") {
		t.Errorf("news are not shown: %q", got)
	}
	a.s.said = a.s.said.Add(-newsTime)
	if got := ansi.Strip(a.status()); !strings.Contains(got, "● tuning") {
		t.Errorf("news cover the progress for ever: %q", got)
	}
}

// A terminal without UTF-8 gets ASCII alone, in the same places.
func TestScreensInASCII(t *testing.T) {
	for name := range screens {
		for at := range 7 {
			a, _ := testApp(name)
			a.at, a.ascii = at, true
			a.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
			view := a.View()
			checkScreen(t, name, view, 120, 40)
			if i := strings.IndexFunc(view, func(r rune) bool { return r >= 0x80 }); i >= 0 {
				t.Errorf("%s, page %d: %q", name, at, view[i:i+4])
			}
		}
	}
}

// The pages as a user sees them; -update rewrites them.
func TestGoldenScreens(t *testing.T) {
	for _, c := range []struct {
		screen string
		at     int
		keys   []string
		state  string // what the keys lead to
	}{
		{"loaded", onModel, nil, ""}, {"tuned", onModel, nil, ""}, {"training", onModel, nil, ""}, {"quantized", onModel, nil, ""}, {"loaded", onModel, []string{"z"}, "-plan"},
		{"loaded", onEvaluate, nil, ""}, {"evaluating", onEvaluate, nil, ""}, {"evaluated", onEvaluate, nil, ""},
		{"evaluated", onEvaluate, []string{"v", "down"}, "-tokens"}, {"evaluated", onEvaluate, []string{"v", "v"}, "-continuations"}, {"evaluated", onEvaluate, []string{"?"}, "-help"}, {"evaluated", onEvaluate, []string{"v", "v", "v"}, "-questions"}, {"evaluated", onEvaluate, []string{"o", "down", "down", "demo, ~/arc_easy, sums.jsonl"}, "-options"},
		{"loaded", onTune, nil, ""}, {"screening", onTune, nil, ""}, {"tuning", onTune, nil, ""}, {"tuned", onTune, nil, ""},
		{"tuned", onTune, []string{"v", "down", "down"}, "-layers"}, {"tuned", onTune, []string{"d", "s", "/", "p", "a", "s"}, "-filter"}, {"tuned", onTune, []string{"?"}, "-help"},
		{"tuned", onTune, []string{"o", "2", "%", "down", "5", "0", "0", "k", "B", "down", "x"}, "-options"},
		{"kernels", onKernels, nil, ""}, {"kernels", onKernels, []string{"c"}, "-curve"}, {"kernels", onKernels, []string{"?"}, "-help"}, {"loaded", onKernels, nil, ""},
		{"tuned", onChat, nil, ""}, {"tuned", onCompare, nil, ""}, {"loaded", onCompare, nil, ""}, {"models", onModels, []string{"down"}, ""}, {"loaded", onModels, nil, ""},
	} {
		for _, size := range [][2]int{{80, 24}, {120, 40}, {200, 60}} {
			a, _ := testApp(c.screen)
			a.at = c.at
			a.View() // lists learn their size by being drawn
			press(a, c.keys...)
			a.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			var b strings.Builder
			for l := range strings.SplitSeq(ansi.Strip(a.View()), "\n") {
				b.WriteString(strings.TrimRight(l, " ") + "\n")
			}
			path := filepath.Join("testdata", fmt.Sprintf("%s-%s%s-%dx%d.txt", strings.ToLower(a.pages[c.at].name()), c.screen, c.state, size[0], size[1]))
			if *update {
				if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != b.String() {
				t.Errorf("%s differs; look at it and run go test -update:\n%s", path, b.String())
			}
		}
	}
}

// The most damaged matrices come first once all are done, with the error of their
// outputs if it is known, or stay in the model's order when asked to.
func TestDamageFirst(t *testing.T) {
	a, _ := testApp("loaded")
	a.Update(tea.WindowSizeMsg{Width: 200, Height: 60})
	p := a.pages[0].(*modelPage)
	a.s.model.report.SizeBytes = 1 // there is a report
	modules := a.s.model.modules
	for i, m := range modules {
		r := quant.ModuleReport{Module: m.Name, Spec: "w4 g32 sym gptq", Stats: quant.Stats{RelErr: 0.01 * float64(i+1)}}
		if i == 1 {
			r.OutErr, r.OutErrRTN = 0.99, 0.999
		}
		a.s.model.report.Modules = append(a.s.model.report.Modules, r)
	}
	first := func() string { return ansi.Strip(p.table(120, 10)[1]) }
	if !strings.Contains(first(), "layer 0 "+modules[1].Kind) || !strings.Contains(first(), "99.90 %  99.00 %  ██████████") {
		t.Errorf("the first row by damage is %q", first())
	}
	a.Update(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("d")})
	if !strings.Contains(first(), modules[0].Kind) || !strings.Contains(first(), "1.00 %") {
		t.Errorf("the first row in the model's order is %q", first())
	}
}

// On a low screen what is selected stays in sight.
func TestLowScreens(t *testing.T) {
	for _, c := range []struct {
		screen string
		at     int
		want   string
	}{{"tuned", onTune, "▸  7 ✓ reached"}, {"evaluated", onEvaluate, "▸  0.53"}, {"quantized", onModel, "▸layer 1 v"}, {"kernels", onKernels, "▸"}} {
		a, _ := testApp(c.screen)
		a.at = c.at
		a.Update(tea.WindowSizeMsg{Width: 60, Height: 15})
		if c.at == onEvaluate {
			a.pages[c.at].(*evaluatePage).at = 1 // tokens
		}
		if view := ansi.Strip(a.View()); !strings.Contains(view, c.want) {
			t.Errorf("%s: %q is not on the screen:\n%s", c.screen, c.want, view)
		}
	}
}

// A model that is quantized already is shown as it is stored, with what its report
// tells.
func TestQuantizedModel(t *testing.T) {
	a, _ := testApp("loaded")
	m := &a.s.model
	m.quantized, m.stored = true, map[string]string{m.modules[1].Name: "w4 g64 sym"}
	a.Update(tea.WindowSizeMsg{Width: 200, Height: 60})
	if view := ansi.Strip(a.View()); !strings.Contains(view, "w4 g64 sym") || !strings.Contains(view, "○ not open") {
		t.Errorf("without a report:\n%s", view)
	}
	m.report = quant.Report{Recipe: quant.DefaultRecipe(), SizeBytes: 5000, Modules: []quant.ModuleReport{{Module: m.modules[3].Name, Spec: hostile, Stats: quant.Stats{RelErr: 0.25}}}}
	view := a.View()
	checkScreen(t, "with a report", view, 200, 60)
	if view := ansi.Strip(view); !strings.Contains(view, "25.00 %  ██████████") || !strings.Contains(view, "w4 g32 sym mse") {
		t.Errorf("with a report:\n%s", view)
	}
}

// The cursor goes with the matrix in work until the user moves it, and to the worst
// when all are done.
func TestFollow(t *testing.T) {
	a, _ := testApp("training")
	p := a.model
	work := func(i int) int {
		a.s.model.working = ""
		if i >= 0 {
			a.s.model.working = a.s.model.modules[i].Name
		}
		a.View()
		return p.list.at
	}
	if got := []int{work(3), work(5), work(-1)}; !slices.Equal(got, []int{3, 5, 0}) {
		t.Errorf("the cursor went to %v", got)
	}
	work(7)
	press(a, "up")
	if got := []int{work(8), work(9), work(-1)}; !slices.Equal(got, []int{6, 6, 6}) {
		t.Errorf("the user's cursor went to %v", got)
	}
	if got := work(2); got != 2 {
		t.Errorf("in the next quantization the cursor is on %d", got)
	}
}

// tunedRecipe is that of the best trial of "tuned".
const tunedRecipe = "w4 g32 sym mse; * w4 g32 sym gptq; down_proj w8 g32 sym rtn"

func TestKeys(t *testing.T) {
	for _, c := range []struct {
		name   string
		screen string
		at     int
		keys   []string
		want   []string // calls
		page   int      // afterwards
	}{
		{"quantize with the second recipe", "loaded", onModel, []string{"z", "right", "enter"}, []string{"plan q4", "plan q4-small", `quantize q4-small to "" with "", 0 x 0, restart=false`}, onModel},
		{"quantize with the last recipe, to a directory", "loaded", onModel, []string{"z", "left", "down", "d", "down", "c", "tab", "8", "enter", "enter"},
			[]string{"plan q4", "plan q8", "plan q8", "plan q8", "plan q8", `quantize q8 to "d" with "c", 8 x 0, restart=false`}, onModel},
		{"a plan that was changed is not confirmed", "loaded", onModel, []string{"z", "8", "enter", "esc"}, []string{"plan q4", "plan q48"}, onModel},
		{"nothing to start over", "loaded", onModel, []string{"z", "ctrl+r"}, []string{"plan q4"}, onModel},
		{"no samples are a mistake", "loaded", onModel, []string{"z", "down", "down", "down", "0", "enter", "enter"}, []string{"plan q4"}, onModel},
		{"write the best", "tuned", onTune, []string{"w", "down", "d", "enter", "enter"}, []string{"plan " + tunedRecipe, "plan " + tunedRecipe, `quantize ` + tunedRecipe + ` to "d" with "", 0 x 0, restart=false`}, onModel},
		{"evaluate goes to its page", "loaded", onModel, []string{"e"}, []string{"evaluate"}, onEvaluate},
		{"evaluate again", "evaluated", onEvaluate, []string{"e"}, []string{"evaluate"}, onEvaluate},
		{"use the advice", "evaluated", onEvaluate, []string{"u"}, []string{"plan w4 g32 sym mse; model.layers.0.mlp.down_proj w8 g32 sym rtn"}, onModel},
		{"use the next advice", "evaluated", onEvaluate, []string{"a", "u"}, []string{"plan w4 g32 sym autoround"}, onModel},
		{"after the last advice comes the first", "evaluated", onEvaluate, []string{"a", "a", "u"}, []string{"plan w4 g32 sym mse; model.layers.0.mlp.down_proj w8 g32 sym rtn"}, onModel},
		{"no advice to use", "tuned", onEvaluate, []string{"u"}, nil, onEvaluate},
		{"tune goes to its page", "loaded", onModel, []string{"t"}, []string{"tune"}, onTune},
		{"tune with limits", "loaded", onTune, []string{"o", "2", "%", "down", "5", "0", "0", "k", "B", "down", "4", ".", "5", "down", "9", "down", "1", "m", "enter"},
			[]string{"tune at most 500 kB, at most 4.5 bpw, at least 9 tokens/s, in 1m00s"}, onTune},
		{"options stay", "loaded", onTune, []string{"o", "down", "down", "5", "esc", "x", "t"}, []string{"cancel", "tune at most 5 bpw"}, onTune},
		{"a wrong option is not tuned with", "loaded", onModel, []string{"4", "3", "o", "down", "x", "esc", "1", "t"}, nil, onTune},
		{"a wrong option is put right", "loaded", onTune, []string{"o", "down", "x", "enter", "backspace", "9", "M", "B", "enter"}, []string{"tune at most 9.00 MB"}, onTune},
		{"use the second trial", "tuned", onTune, []string{"home", "down", "u"}, []string{"use 2"}, onTune},
		{"use the best", "tuned", onTune, []string{"u"}, []string{"use 7"}, onTune},
		{"use the next smaller point of the front", "tuned", onTune, []string{"left", "u"}, []string{"use 5"}, onTune},
		{"and back", "tuned", onTune, []string{"left", "left", "right", "u"}, []string{"use 5"}, onTune},
		{"use what the filter leaves", "tuned", onTune, []string{"/", "m", "i", "s", "s", "enter", "end", "enter"}, []string{"use 5"}, onTune},
		{"use the first by size, the largest last", "tuned", onTune, []string{"s", "end", "u"}, []string{"use 7"}, onTune},
		{"a failed trial is not used", "tuned", onTune, []string{"home", "down", "down", "u"}, nil, onTune},
		{"a running trial is not used", "tuning", onTune, []string{"end", "u"}, nil, onTune},
		{"letters are text in the filter", "tuned", onTune, []string{"/", "u", "t", "x", "q"}, nil, onTune},
		{"pause", "tuning", onTune, []string{"p"}, []string{"pause"}, onTune},
		{"measure", "kernels", onKernels, []string{"m"}, []string{"measure"}, onKernels},
		{"force the first kernel", "kernels", onKernels, []string{"f"}, []string{"force avx2 8x2"}, onKernels},
		{"the curve is there already", "kernels", onKernels, []string{"c"}, nil, onKernels},
		{"the curve of another matrix", "kernels", onKernels, []string{"down", "c"}, []string{"curve 128x352"}, onKernels},
		{"pages by tab", "loaded", onModel, []string{"tab", "tab"}, nil, onTune},
		{"pages by number", "loaded", onModel, []string{"5"}, nil, onChat},
		{"letters are text in the chat", "tuned", onChat, []string{"h", "i", "enter"}, []string{"send hi float=false after 4"}, onChat},
		{"the float model answers", "tuned", onChat, []string{"ctrl+o", "x", "enter"}, []string{"send x float=true after 4"}, onChat},
		{"compare", "loaded", onCompare, []string{"q", "?", "enter"}, []string{"compare q? after []"}, onCompare},
		{"branch where the answers part", "tuned", onCompare, []string{"alt+b"}, []string{"compare Tell me a story" + hostile + " after [0 1 2 3 4 5 106]"}, onCompare},
		{"branch from a token before", "tuned", onCompare, []string{"up", "up", "up", "up", "alt+b"}, []string{"compare Tell me a story" + hostile + " after [0 1 102]"}, onCompare},
		{"the next difference, and back to the split", "tuned", onCompare, []string{"up", "up", "pgdown", "alt+b"}, []string{"compare Tell me a story" + hostile + " after [0 1 2 3 4 5 106]"}, onCompare},
		{"no advice to answer by", "tuned", onCompare, []string{"alt+r"}, nil, onCompare},
		{"models are listed once", "loaded", onModel, []string{"7", "1", "7"}, []string{"list models"}, onModels},
		{"open the demo", "models", onModels, []string{"enter"}, []string{"switch to demo"}, onModel},
		{"open another model", "models", onModels, []string{"/", "q", "w", "e", "n", "enter", "enter"}, []string{"switch to org/Small-0.5B"}, onModel},
		{"what cannot be opened is not", "models", onModels, []string{"down", "down", "enter"}, nil, onModels},
		{"open a path", "models", onModels, []string{"o", "/", "x", "enter"}, []string{"switch to /x"}, onModel},
		{"cancel", "tuning", onTune, []string{"x"}, []string{"cancel"}, onTune},
	} {
		a, f := testApp(c.screen)
		a.at = c.at
		a.View() // lists learn their size by being drawn
		press(a, c.keys...)
		if !slices.Equal(f.calls, c.want) || a.at != c.page {
			t.Errorf("%s: calls %q on page %d, want %q on %d", c.name, f.calls, a.at, c.want, c.page)
		}
	}
}

func TestQuit(t *testing.T) {
	a, f := testApp("loaded")
	if !press(a, "q") {
		t.Error("q did not quit an idle workbench")
	}
	for _, lose := range []func(s *state){func(s *state) { s.model.inMemory = true }, func(s *state) { s.chat.turns = []chatTurn{{user: "x"}} }} {
		b, _ := testApp("loaded")
		lose(b.s)
		if press(b, "q") || !b.asking || !press(b, "q", "y") && b.asking {
			t.Error("q quit where something is lost, without asking")
		}
	}
	f.job = "tuning"
	if press(a, "q") || !a.asking {
		t.Error("q quit while a job was running, without asking")
	}
	if press(a, "n") || a.asking {
		t.Error("n did not withdraw the question")
	}
	if press(a, "q"); !press(a, "y") {
		t.Error("y did not quit")
	}
	a, f = testApp("tuning")
	f.job = "tuning"
	if press(a, "ctrl+c") || !slices.Contains(f.calls, "cancel") {
		t.Error("the first ctrl+c did not cancel")
	}
	if !press(a, "ctrl+c") {
		t.Error("the second ctrl+c did not quit")
	}
}

// Changes from jobs reach the state in order, samples before facts.
func TestMailbox(t *testing.T) {
	a, f := testApp("empty")
	f.mail.fact(func(s *state) { s.say("one") })
	f.mail.sample("progress", func(s *state) { s.say("sample") })
	f.mail.fact(func(s *state) { s.say(s.message + " two") })
	a.Update(batchMsg{})
	if a.s.message != "one two" {
		t.Errorf("the message is %q", a.s.message)
	}
	a.s.job = running{name: "tuning", running: true}
	a.s.jobEnded(errCancelled, true)
	if a.s.job.running || a.s.message != "tuning cancelled" || a.s.failed {
		t.Errorf("after a cancel: %+v, %q", a.s.job, a.s.message)
	}
	if names := slices.Sorted(maps.Keys(screens)); len(names) < 6 {
		t.Errorf("screens %v", names)
	}
}

// The help scrolls where it does not fit, down to its last key.
func TestHelpScrolls(t *testing.T) {
	a, _ := testApp("tuned")
	a.at = onTune
	press(a, "?")
	if strings.Contains(a.View(), "ctrl+z") {
		t.Fatal("all of the help fits: the test shows nothing")
	}
	for range 70 {
		press(a, "down")
	}
	if !a.help || !strings.Contains(a.View(), "ctrl+z") {
		t.Errorf("the end of the help cannot be reached:\n%s", ansi.Strip(a.View()))
	}
	if press(a, "z"); a.help {
		t.Error("another key does not close the help")
	}
}

// The current page is named on every screen.
func TestTabs(t *testing.T) {
	a, _ := testApp("loaded")
	for a.at = range a.pages {
		for _, w := range []int{40, 60, 80, 200} {
			a.Update(tea.WindowSizeMsg{Width: w, Height: 24})
			if want := fmt.Sprintf("[%d %s]", a.at+1, a.pages[a.at].name()); !strings.Contains(ansi.Strip(a.View()), want) {
				t.Errorf("%q is not on a screen of %d columns", want, w)
			}
		}
	}
}

// A key has one meaning on a page, and a text in the help.
func TestBindings(t *testing.T) {
	a, _ := testApp("tuned")
	for _, p := range a.pages {
		seen := map[string]bool{}
		for _, b := range p.bindings() {
			for _, k := range b.keys {
				if seen[k] {
					t.Errorf("%s page: two meanings for %s", p.name(), k)
				}
				seen[k] = true
			}
			if b.help == "" || b.label == "" {
				t.Errorf("%s page: %q has no help", p.name(), b.keys)
			}
		}
	}
}

// What drawing a page costs is what every key waits for: here with as many layers
// and rules as the largest models have.
func BenchmarkView(b *testing.B) {
	for at := range 7 {
		a, _ := testApp("tuned")
		a.s.model.modules = llama(80).Modules()
		for i := range a.s.tune.trials {
			for _, m := range a.s.model.modules {
				t := &a.s.tune.trials[i]
				t.Recipe.Rules = append(t.Recipe.Rules, quant.Rule{Match: m.Name, Spec: t.Recipe.Default})
			}
		}
		a.at, a.w, a.h = at, 200, 60
		b.Run(a.pages[at].name(), func(b *testing.B) {
			for b.Loop() {
				a.View()
			}
		})
	}
}
