package quant

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/output"
	"nibble/quant/calib"
	"nibble/quant/cost"
	"nibble/quant/recipe"
)

// What a run would meet is known before it: nothing, an unfinished run of the same
// arguments or others, a finished one, something else.
func TestLook(t *testing.T) {
	eng, err := kernels.New(kernels.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ck, err := model.Open("demo")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	out := filepath.Join(t.TempDir(), "new", "int4")
	look := func(short string) Prospect {
		t.Helper()
		r, err := recipe.Parse(short)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Look(Options{Engine: eng, Source: ck, Recipe: r, Out: out}, cost.Rates{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const recipe = "w4 g32 sym rtn"
	p := look(recipe)
	if p.Earlier != nil || p.Found || p.Refusal != nil || p.Plan.SizeBytes == 0 || p.Calibration != nil {
		t.Errorf("nothing is there: %+v", p)
	}
	if _, err := os.Stat(filepath.Dir(out)); err == nil {
		t.Error("looking made a directory")
	}
	if p := look("w4 g32 sym gptq"); p.Calibration == nil || p.Calibration.Samples != calib.DefaultSamples {
		t.Errorf("the calibration of a recipe that needs one: %+v", p.Calibration)
	}
	if err := quantizeDemo(out, recipe, 5); err == nil {
		t.Fatal("the run was not interrupted")
	}
	if p := look(recipe); p.Earlier == nil || p.Earlier.Done < 1 || len(p.Earlier.Differences) > 0 || p.Refusal != nil {
		t.Errorf("an unfinished run: %+v", p)
	}
	if p := look("w8 g32 sym rtn"); p.Earlier == nil || len(p.Earlier.Differences) != 1 || !strings.Contains(p.Earlier.Differences[0], recipe) {
		t.Errorf("an unfinished run of another recipe: %+v", p.Earlier)
	}
	if err := quantizeDemo(out, recipe, 0); err != nil {
		t.Fatal(err)
	}
	if p := look(recipe); !p.Found || p.Refusal != nil || p.Earlier != nil {
		t.Errorf("a finished run: %+v", p)
	}
	if p := look("w8 g32 sym rtn"); p.Found || !errors.Is(p.Refusal, output.ErrNotEmpty) {
		t.Errorf("a directory that holds something else: %+v", p)
	}
}
