package eval

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"nibble/kernels/durable/durabletest"
	rt "nibble/runtime"
)

// cachedReference makes a reference with a cache, and reports whether the hidden
// states were known.
func cachedReference(t *testing.T, m *rt.Model, o Options) (*Reference, bool) {
	t.Helper()
	known := false
	ref, err := NewReference(context.Background(), m, o, func(e Event) {
		if s, ok := e.(ReferenceStates); ok {
			known = s.Known
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ref.Close() })
	return ref, known
}

// What is recalled gives the same figures as what is computed, to the bit, and
// everything that figures depend on is part of the key.
func TestReferenceCache(t *testing.T) {
	_, m := load(t, "demo")
	base := Options{Text: DemoText(), Ctx: 64, Chunks: 3, CacheDir: t.TempDir()}
	first, known := cachedReference(t, m, base)
	if known {
		t.Fatal("an empty cache knows the states")
	}
	again, known := cachedReference(t, m, base)
	if !known {
		t.Fatal("the states were computed again")
	}
	if a, b := first.Result, again.Result; a.PPL != b.PPL || a.PPLSE != b.PPLSE || a.Tokens != b.Tokens {
		t.Errorf("recalled %v ± %v of %d tokens, computed %v ± %v of %d", b.PPL, b.PPLSE, b.Tokens, a.PPL, a.PPLSE, a.Tokens)
	}
	run := func(ref *Reference, o Options) Result {
		res, err := Run(context.Background(), m, ref, o, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if a, b := run(first, base), run(again, base); a.KLDMean != b.KLDMean || a.PPLRatio != b.PPLRatio || a.KLDMax != 0 && a.KLDMean > 1e-6 {
		t.Errorf("compared with recalled states: %v, %v; with computed ones %v, %v", b.KLDMean, b.PPLRatio, a.KLDMean, a.PPLRatio)
	}

	for name, change := range map[string]func(*Options){
		"window":  func(o *Options) { o.Ctx = 32 },
		"length":  func(o *Options) { o.Chunks = 2 },
		"text":    func(o *Options) { o.Text = NewText("another", append([]byte("Another text. "), o.Text.Data...)) },
		"refresh": func(o *Options) { o.Refresh = true },
		"no cache": func(o *Options) {
			o.CacheDir = ""
		},
	} {
		o := base
		change(&o)
		if _, known := cachedReference(t, m, o); known {
			t.Errorf("%s: states of something else were recalled", name)
		}
	}
	if _, known := cachedReference(t, m, base); !known {
		t.Error("other entries replaced the first one")
	}
}

// A damaged, foreign or cut off file is computed again and replaced.
func TestReferenceCacheDamaged(t *testing.T) {
	_, m := load(t, "demo")
	o := Options{Text: DemoText(), Ctx: 64, Chunks: 2, CacheDir: t.TempDir()}
	good, _ := cachedReference(t, m, o)
	files, err := filepath.Glob(filepath.Join(o.CacheDir, cachePrefix+"*.states"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) []byte {
		out := append([]byte{}, whole...)
		out[at] ^= 1
		return out
	}
	for name, data := range map[string][]byte{
		"empty": nil, "foreign": []byte("something else"), "cut off": whole[:len(whole)-5], "longer": append(append([]byte{}, whole...), 0),
		"header": flip(len(statesMagic) + 10), "first window": flip(statesStart + 3), "last checksum": flip(len(whole) - 1),
	} {
		if err := os.WriteFile(files[0], data, 0o644); err != nil {
			t.Fatal(err)
		}
		ref, known := cachedReference(t, m, o)
		if known {
			t.Errorf("%s: recalled", name)
		}
		if ref.Result.PPL != good.Result.PPL {
			t.Errorf("%s: perplexity %v, want %v", name, ref.Result.PPL, good.Result.PPL)
		}
		if _, known := cachedReference(t, m, o); !known {
			t.Errorf("%s: the file was not replaced", name)
		}
	}
}

// Whatever happens to a file of the cache, what it gives is what was kept, or nothing.
func TestDamagedCache(t *testing.T) {
	_, m := load(t, "demo")
	questions, err := DemoTask()
	if err != nil {
		t.Fatal(err)
	}
	questions.Items = questions.Items[:2]
	o := Options{Text: DemoText(), Ctx: 16, Chunks: 2, CacheDir: t.TempDir(), Tasks: []TaskSet{questions}}
	want, _ := cachedReference(t, m, o)
	c := newCache(o.CacheDir)
	keys := map[string]string{".states": c.key(m, "states", hashWindows(want.windows)), ".answers": c.key(m, "answers", questions.SHA256)}
	h := statesHeader{Key: keys[".states"], Windows: 2, Size: want.states.size}
	for ext, key := range keys {
		path := c.path(key, ext)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		durabletest.Damage(data, 60, func(how string, bad []byte) {
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			if ext == ".answers" {
				if got, ok := loadAnswers(c, path, key, questions); ok && !reflect.DeepEqual(got, want.tasks[0]) {
					t.Errorf("%s, %s: %+v", ext, how, got)
				}
				return
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, got, err := openStates(f, h); err == nil {
				t.Errorf("%s, %s: %+v", ext, how, got)
			}
		})
	}
}

// Processes that compute the same at once all succeed.
func TestReferenceCacheShared(t *testing.T) {
	_, m := load(t, "demo")
	o := Options{Text: DemoText(), Ctx: 64, Chunks: 2, CacheDir: t.TempDir()}
	var wg sync.WaitGroup
	ppl := make([]float64, 4)
	for i := range ppl {
		wg.Go(func() {
			ref, err := NewReference(context.Background(), m, o, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer ref.Close()
			ppl[i] = ref.Result.PPL
		})
	}
	wg.Wait()
	for _, v := range ppl {
		if v != ppl[0] {
			t.Errorf("perplexities %v", ppl)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(o.CacheDir, ".*")); len(left) > 0 {
		t.Errorf("partial files are left: %v", left)
	}
}

// The longest unused files go when the limit is passed, and nothing of others.
func TestCacheTrim(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int, age time.Duration) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	write(cachePrefix+"old.states", 60, 3*time.Hour)
	write(cachePrefix+"mid.states", 60, 2*time.Hour)
	write(cachePrefix+"new.states", 60, 0)
	write("kernels-1.json", 500, 100*time.Hour)
	write("."+cachePrefix+"dead", 10, 2*abandoned)
	write("."+cachePrefix+"alive", 10, time.Minute)
	cache{dir, 130}.trim(cachePrefix + "new.states")
	for name, want := range map[string]bool{
		cachePrefix + "old.states": false, cachePrefix + "mid.states": true, cachePrefix + "new.states": true,
		"kernels-1.json": true, "." + cachePrefix + "dead": false, "." + cachePrefix + "alive": true,
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: kept %v, want %v", name, err == nil, want)
		}
	}
}
