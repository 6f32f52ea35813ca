package quant

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
	"nibble/kernels/slowtest"
	"nibble/model"
	"nibble/model/output"
	"nibble/quant/calib"
	"nibble/quant/journal"
	"nibble/quant/method"
	"nibble/quant/pass"
	"nibble/quant/passtest"
	"nibble/quant/plan"
	"nibble/quant/quanttest"
	"nibble/quant/recipe"
)

// killedRecipe has a method of every kind, so that a run is cut short between and
// inside of all of them.
const killedRecipe = "w4 g32 sym gptq; *.up_proj w4 g64 asym mse; *.0.self_attn.k_proj w8 channel sym rtn; embed_tokens w8 rtn; *.3.* keep"

// quantizeDemo runs a recipe, and is cancelled after some matrices unless that is
// 0.
func quantizeDemo(out, recipe string, matrices int) error {
	return quantizeModel("demo", 2, calib.Options{Samples: 3, Length: 32}, out, recipe, matrices)
}

func quantizeModel(source string, threads int, calibration calib.Options, out, short string, matrices int) error {
	eng, err := kernels.New(kernels.Options{Threads: threads})
	if err != nil {
		return err
	}
	defer eng.Close()
	ck, err := model.Open(source)
	if err != nil {
		return err
	}
	defer ck.Close()
	r, err := recipe.Parse(short)
	if err != nil {
		return err
	}
	o := Options{Engine: eng, Source: ck, Recipe: r, Out: out}
	if method.Calibrated(r, ck.Config) {
		if o.Calibration, err = calib.New(ck, calibration); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	made := 0
	_, err = Run(ctx, o, func(e pass.Event) {
		if d, ok := e.(pass.ModuleDone); ok && !d.Restored {
			if made++; made == matrices {
				cancel()
			}
		}
	})
	return err
}

// contents reads a directory's files.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// same fails unless two directories hold the same bytes and nothing is beside
// them.
func same(t *testing.T, got, want string) {
	t.Helper()
	a, b := contents(t, got), contents(t, want)
	if names := slices.Sorted(maps.Keys(a)); !slices.Equal(names, slices.Sorted(maps.Keys(b))) {
		t.Fatalf("the files are %v", names)
	}
	for name := range b {
		if a[name] != b[name] {
			t.Errorf("%s differs from that of an uninterrupted run", name)
		}
	}
	work := workOf(t, got)
	if _, err := os.Stat(work); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left behind (%v)", work, err)
	}
}

// uninterrupted is the reference of the tests below.
func uninterrupted(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "whole")
	if err := quantizeDemo(out, killedRecipe, 0); err != nil {
		t.Fatal(err)
	}
	return out
}

// cut leaves a run of the recipe unfinished after some matrices and returns where
// it is kept.
func cut(t *testing.T, out, recipe string, matrices int) string {
	t.Helper()
	err := quantizeDemo(out, recipe, matrices)
	var u *journal.Unfinished
	if !errors.As(err, &u) || !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled run: %v", err)
	}
	if u.Done < 1 || u.Done > matrices {
		t.Fatalf("%d matrices are kept of %d", u.Done, matrices)
	}
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("an unfinished run has its final name: %v", err)
	}
	return u.Work
}

// Whatever happens to what was kept, the result is right.
func TestDamagedJournal(t *testing.T) {
	want := uninterrupted(t)
	const weights = "output/model.safetensors"
	flip := func(file string, at func(size int) int) func(*testing.T, string) {
		return func(t *testing.T, work string) {
			path := filepath.Join(work, file)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data[at(len(data))] ^= 0x10
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	truncate := func(file string, part int) func(*testing.T, string) {
		return func(t *testing.T, work string) {
			path := filepath.Join(work, file)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, info.Size()*int64(part)/10); err != nil {
				t.Fatal(err)
			}
		}
	}
	kept := cut(t, filepath.Join(t.TempDir(), "out"), killedRecipe, 12)
	first := func(size int) int { return 20 }
	for name, damage := range map[string]func(*testing.T, string){
		"nothing":             func(*testing.T, string) {},
		"torn line":           func(t *testing.T, work string) { truncateBy(t, filepath.Join(work, journal.FileName), 7) },
		"half a journal":      truncate(journal.FileName, 5),
		"an empty journal":    truncate(journal.FileName, 0),
		"its first line":      flip(journal.FileName, first),
		"a line in it":        flip(journal.FileName, func(size int) int { return size / 2 }),
		"a truncated file":    truncate(weights, 4),
		"an empty file":       truncate(weights, 0),
		"the file's header":   flip(weights, first),
		"codes":               flip(weights, func(int) int { return 1 << 19 }),
		"no file":             func(t *testing.T, work string) { remove(t, filepath.Join(work, weights)) },
		"no journal":          func(t *testing.T, work string) { remove(t, filepath.Join(work, journal.FileName)) },
		"no output directory": func(t *testing.T, work string) { remove(t, filepath.Join(work, "output")) },
	} {
		t.Run(name, func(t *testing.T) {
			if !slices.Contains([]string{"nothing", "torn line", "a line in it", "codes", "no file"}, name) && !slowtest.On() {
				t.Skip("slow: NIBBLE_SLOW=1 asks for it")
			}
			out := filepath.Join(t.TempDir(), "out")
			work := workOf(t, out)
			if err := os.CopyFS(work, os.DirFS(kept)); err != nil {
				t.Fatal(err)
			}
			damage(t, work)
			if err := quantizeDemo(out, killedRecipe, 0); err != nil {
				t.Fatal(err)
			}
			same(t, out, want)
		})
	}
}

func truncateBy(t *testing.T, path string, n int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-n); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// What is finished is not made again.
func TestResumeDoesTheRest(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	work := cut(t, out, killedRecipe, 9)
	done := len(slices.DeleteFunc(journal.ReadJournal(work), func(r journal.Record) bool { return r.Line == nil }))
	ck := quanttest.Open(t, "demo")
	cal, err := calib.New(ck, calib.Options{Samples: 3, Length: 32})
	if err != nil {
		t.Fatal(err)
	}
	var resumed Resumed
	restored, made := 0, 0
	_, err = Run(context.Background(), Options{Engine: quanttest.Engine(t, 1), Source: ck, Recipe: passtest.Parse(t, killedRecipe), Out: out, Calibration: cal}, func(e pass.Event) {
		switch e := e.(type) {
		case Resumed:
			resumed = e
		case pass.ModuleDone:
			if e.Restored {
				restored++
			} else {
				made++
			}
			if e.Done != restored+made {
				t.Errorf("matrix %d is the %dth", restored+made, e.Done)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := plan.New(ck, passtest.Parse(t, killedRecipe))
	if err != nil {
		t.Fatal(err)
	}
	if resumed != (Resumed{done, 0}) || restored != done || restored+made != plan.Quantized {
		t.Errorf("%+v, %d restored and %d made of %d, %d of them done before", resumed, restored, made, plan.Quantized, done)
	}
}

// Other arguments are refused by name, and change nothing.
func TestOtherArguments(t *testing.T) {
	ck := quanttest.Open(t, "demo")
	out := filepath.Join(t.TempDir(), "out")
	cut(t, out, killedRecipe, 9)
	drawn := func(o calib.Options) *calib.Calibration {
		c, err := calib.New(ck, o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	same := calib.Options{Samples: 3, Length: 32}
	text := []byte(strings.Repeat("A dog and a cat went to the market. ", 200))
	for _, x := range []struct {
		recipe, source string
		calibration    *calib.Calibration
		want           []string
	}{
		{"w4 g64 sym gptq", "demo", drawn(same), []string{"recipe", "w4 g64 sym gptq"}},
		{"q4", "demo", nil, []string{"recipe", "calibration"}},
		{killedRecipe, "demo", drawn(calib.Options{Samples: 5, Length: 32}), []string{"number of samples (there 3, now 5)"}},
		{killedRecipe, "demo", drawn(calib.Options{Samples: 3, Length: 40}), []string{"length of a sample (there 32, now 40)"}},
		{killedRecipe, "demo", drawn(calib.Options{Samples: 3, Length: 32, Seed: 7}), []string{"seed (there 0, now 7)"}},
		{killedRecipe, "demo", drawn(calib.Options{Samples: 3, Length: 32, Name: "my.txt", Text: text}), []string{"calibration text", "my.txt"}},
		{killedRecipe, damaged(t, "model.layers.1.mlp.up_proj.weight", 0x7fc0), drawn(same), []string{"model's SHA-256"}},
	} {
		_, err := Run(context.Background(), Options{Engine: quanttest.Engine(t, 1), Source: quanttest.Open(t, x.source), Recipe: passtest.Parse(t, x.recipe), Out: out, Calibration: x.calibration}, nil)
		if !errors.Is(err, journal.ErrOtherRun) || !strings.Contains(err.Error(), "--restart") || slices.ContainsFunc(x.want, func(w string) bool { return !strings.Contains(err.Error(), w) }) {
			t.Errorf("%q of %s: %v, want %q", x.recipe, x.source, err, x.want)
		}
	}
	if err := quantizeDemo(out, killedRecipe, 0); err != nil {
		t.Fatal(err)
	}

	// To start over is to forget it.
	out = filepath.Join(t.TempDir(), "out")
	cut(t, out, killedRecipe, 9)
	_, err := Run(context.Background(), Options{Engine: quanttest.Engine(t, 1), Source: ck, Recipe: passtest.Parse(t, "q8"), Out: out, Restart: true}, func(e pass.Event) {
		if r, ok := e.(Resumed); ok {
			t.Errorf("%+v after a new start", r)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A process that dies between giving the directory its name and tidying up, or
// after that, has finished.
func TestKilledAtTheEnd(t *testing.T) {
	want := uninterrupted(t)
	out := filepath.Join(t.TempDir(), "out")
	work := cut(t, out, killedRecipe, 20)
	lines, err := os.ReadFile(filepath.Join(work, journal.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := quantizeDemo(out, killedRecipe, 0); err != nil {
		t.Fatal(err)
	}
	for name, left := range map[string]map[string][]byte{
		"a journal":              {journal.FileName: lines},
		"a directory":            {},
		"something of a journal": {journal.FileName: lines[:20], "state-whole": nil},
	} {
		if err := os.Mkdir(work, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, data := range left {
			if err := os.WriteFile(filepath.Join(work, file), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := quantizeDemo(out, killedRecipe, 0); err != nil {
			t.Errorf("%s is left: %v", name, err)
		}
		same(t, out, want)
	}
	if err := quantizeDemo(out, killedRecipe, 0); err != nil {
		t.Errorf("nothing is left to do: %v", err)
	}
	same(t, out, want)

	// What is there is another model's, or not whole.
	if err := quantizeDemo(out, "q4", 0); !errors.Is(err, output.ErrNotEmpty) {
		t.Errorf("another recipe's model was written over: %v", err)
	}
	truncateBy(t, filepath.Join(out, "model.safetensors"), 1)
	if err := quantizeDemo(out, killedRecipe, 0); !errors.Is(err, output.ErrNotEmpty) {
		t.Errorf("a truncated model passes as finished: %v", err)
	}
}

// Two runs do not share a work directory.
func TestOneWriter(t *testing.T) {
	ck := quanttest.Open(t, "demo")
	out := filepath.Join(t.TempDir(), "out")
	w, err := model.Create(passtest.Take(t, out), ck, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := quantizeDemo(out, "q4", 0); !errors.Is(err, output.ErrBusy) {
		t.Errorf("a second writer: %v, want ErrBusy", err)
	}
}

// workOf is the work directory of an output.
func workOf(t testing.TB, out string) string {
	t.Helper()
	p, err := output.Find(out, output.Directory)
	if err != nil {
		t.Fatal(err)
	}
	return p.Work()
}
