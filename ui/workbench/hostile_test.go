package workbench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	tea "github.com/charmbracelet/bubbletea"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant"
	rt "nibble/runtime"
	"nibble/ui/job"
)

// nasty is foreign text of many kinds: control characters of both ranges, escape
// sequences that move the cursor, set colours, the title or the clipboard, line
// breaks, text that reorders what follows, wide, combining and joined characters,
// bytes that are no UTF-8.
var nasty = []string{
	hostile,
	"\x1b[31mred\x1b[0m \x1b[5;5H",
	"\x1b]52;c;b3duZWQ=\x07\x1bP+q\x1b\\",
	"\u009b2J\u009d0;owned\u009c\u0085",
	"a\nb\r\nc\td\ve\ff\bg",
	"\u202e\u2066\u2028\u2029\u200f\ufeff\u200b\u00ad",
	"\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
	strings.Repeat("漢字", 60),
	"e" + strings.Repeat("\u0301\u0489", 40),
	"👩\u200d👩\u200d👧\u200d👦 🇩🇪 ❤\ufe0f",
	"\xff\xfe\xc3(\xe2\x28\xa1",
	"%s%d%!(NOVERB)",
}

// poison sets every string in v that is not one of ours, and those of what v holds
// or points to.
func poison(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			poison(v.Elem(), text)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			poison(v.Index(i), text)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Field(i)
			if f.CanAddr() {
				f = reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem() // the fields are not exported
			}
			poison(f, text)
		}
	case reflect.String:
		if v.CanSet() {
			v.SetString(text)
		}
	}
}

// Whatever the texts are that the screens show, of models, files and errors, they
// come out as text of the right width, on every page in every state.
func TestNastyText(t *testing.T) {
	for name := range screens {
		for i, text := range nasty {
			a, _ := testApp(name)
			poison(reflect.ValueOf(a.s).Elem(), text)
			a.s.say(text)
			for at := range a.pages {
				a.at = at
				for _, size := range [][2]int{{60, 15}, {80, 24}, {200, 60}} {
					a.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
					checkScreen(t, fmt.Sprintf("%s, text %d, page %d, %v", name, i, at, size), a.View(), size[0], size[1])
				}
			}
		}
	}
}

// A text of nasty pieces is evaluated, and what a model makes of it is shown: the
// context of the worst tokens, what both models expected, their continuations.
func TestNastyEvaluation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a\x1b[2J\u202e.txt")
	text := strings.ToValidUTF8(strings.ReplaceAll(strings.Join(nasty, " once upon a time "), "\x00", ""), "\ufffd") // the rest is refused
	if err := os.WriteFile(path, []byte(strings.Repeat(text, 3)), 0o600); err != nil {
		t.Skip("the file system takes no such name:", err)
	}
	ctx := context.Background()
	b := newBackend(ctx, Options{CacheDir: t.TempDir()})
	defer b.close()
	var err error
	if b.ck, err = model.Open("demo"); err != nil {
		t.Fatal(err)
	}
	if b.eng, err = kernels.New(kernels.Options{Threads: 2}); err != nil {
		t.Fatal(err)
	}
	if b.base, err = rt.Load(ctx, b.eng, b.ck); err != nil {
		t.Fatal(err)
	}
	recipe, err := quant.ParseRecipe("w4 channel sym rtn")
	if err != nil {
		t.Fatal(err)
	}
	if b.int4, b.made, err = quant.ApplyCalibrated(ctx, b.base, b.ck, recipe, nil, nil); err != nil {
		t.Fatal(err)
	}
	a := newApp(newFake())
	a.s.model.recipe, a.s.model.loaded = recipe.String(), true
	b.evaluate(job.Evaluate{Text: path, Ctx: 64, Chunks: 4})
	b.jobs.done.Wait()
	for _, c := range b.mail.drain() {
		c(a.s)
	}
	if r := a.s.eval.report; r == nil || len(r.Continuations) == 0 || a.s.failed {
		t.Fatalf("nothing was reported: %q", a.s.message)
	}
	shown := ""
	for _, w := range a.s.eval.result.WorstTokens {
		shown += w.Context
	}
	if !strings.Contains(shown, "upon") || strings.ContainsRune(shown, '\x1b') {
		t.Errorf("the worst tokens stand in %q", shown)
	}
	a.at = onEvaluate
	for range a.evaluating.parts {
		for _, size := range [][2]int{{60, 15}, {80, 24}, {200, 60}} {
			a.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			checkScreen(t, fmt.Sprint(size), a.View(), size[0], size[1])
		}
		press(a, "v")
	}
}
