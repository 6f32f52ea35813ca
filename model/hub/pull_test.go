package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nibble/kernels/durable"
	"nibble/model/hub/hubtest"
)

// random is a content that repeats nowhere.
func random(n int, seed uint32) []byte {
	b := make([]byte, n)
	for i := range b {
		seed = seed*1664525 + 1013904223
		b[i] = byte(seed >> 24)
	}
	return b
}

// repository is a sharded model with what nibble does not need.
func repository() map[string][]byte {
	return map[string][]byte{
		"config.json": []byte(`{"model_type":"llama"}`), "tokenizer.json": random(5000, 1), "tokenizer_config.json": []byte("{}"), "README.md": []byte("# A model"),
		indexName:                          []byte(`{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`),
		"model-00001-of-00002.safetensors": random(200_000, 2), "model-00002-of-00002.safetensors": random(100_000, 3),
		"pytorch_model.bin": random(4000, 4), "onnx/model.onnx": random(4000, 5), "original/consolidated.safetensors": random(4000, 6),
		"what? a strange name.png": random(10, 7),
	}
}

// wanted are its files that nibble needs.
var wanted = []string{"config.json", "tokenizer.json", "tokenizer_config.json", indexName, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}

const shard1, shard2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"

// try pulls from a hub without its usual patience.
func try(t *testing.T, ctx context.Context, ref string, listen Listener) (Result, error) {
	t.Helper()
	s, err := FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Parse(ref)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(s, listen)
	c.pace = pace{silence: 300 * time.Millisecond, first: time.Millisecond, longest: time.Second, tries: 4, total: 30}
	return c.pull(ctx, r)
}

// check compares what is in a snapshot with what should be.
func check(t *testing.T, dir string, repo map[string][]byte, names ...string) {
	t.Helper()
	for _, name := range names {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, repo[name]) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(repo[name]))
		}
	}
}

func TestPull(t *testing.T) {
	repo := repository()
	h, cache := hubtest.New(t, map[string]map[string][]byte{"org/name": repo})
	h.Token = "hf_secret"
	t.Setenv("HF_TOKEN", "hf_secret")
	var last Progress
	res, err := try(t, t.Context(), "org/name", func(e Event) {
		if p, ok := e.(Progress); ok {
			last = p
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(cache, "models--org--name")
	if want := filepath.Join(folder, "snapshots", hubtest.Commit); res.Path != want {
		t.Errorf("path %s, want %s", res.Path, want)
	}
	check(t, res.Path, repo, wanted...)
	entries, err := os.ReadDir(res.Path)
	if err != nil || len(entries) != len(wanted) || len(res.Files) != len(wanted) {
		t.Errorf("%d files in the snapshot, %v in the result, %v; want %d", len(entries), res.Files, err, len(wanted))
	}
	size := int64(0)
	for _, name := range wanted {
		size += int64(len(repo[name]))
		target, err := os.Readlink(filepath.Join(res.Path, name))
		if want := "../../blobs/" + h.Hash(repo[name]); err != nil || target != want {
			t.Errorf("%s -> %s, %v; want %s", name, target, err, want)
		}
	}
	if res.SizeBytes != size || res.Downloaded != size || last.Done > last.Total || last.Total > size {
		t.Errorf("%d bytes, %d downloaded, progress %+v; want %d", res.SizeBytes, res.Downloaded, last, size)
	}
	if ref, err := os.ReadFile(filepath.Join(folder, "refs", "main")); err != nil || string(ref) != hubtest.Commit {
		t.Errorf("refs/main is %q, %v", ref, err)
	}
	if _, err := os.Stat(filepath.Join(folder, ".no_exist", hubtest.Commit, "generation_config.json")); err != nil {
		t.Error(err)
	}
	for _, r := range h.Requests() {
		if auth := r.Header.Get("Authorization"); r.CDN && auth != "" || !r.CDN && auth != "Bearer hf_secret" {
			t.Errorf("%s (other host: %v) has Authorization %q", r.URL, r.CDN, auth)
		}
	}
	left, _ := filepath.Glob(filepath.Join(folder, "blobs", "*.incomplete"))
	locks, _ := filepath.Glob(filepath.Join(cache, ".locks", "*", "*"))
	if len(left)+len(locks) > 0 {
		t.Errorf("left behind: %v %v", left, locks)
	}

	// Again, and without a network: nothing is asked for twice.
	n := len(h.Requests())
	if res, err = try(t, t.Context(), "org/name", nil); err != nil || res.Downloaded != 0 || res.SizeBytes != size || len(h.Requests()) != n+1 {
		t.Errorf("again: %+v, %v, %d requests", res, err, len(h.Requests())-n)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	for _, ref := range []string{"org/name", "org/name@" + hubtest.Commit} {
		if off, err := try(t, t.Context(), ref, nil); err != nil || off.Path != res.Path {
			t.Errorf("offline, %s: %+v, %v", ref, off, err)
		}
	}
	if off, err := try(t, t.Context(), "org/name", nil); err != nil || off.SizeBytes != size || len(off.Files) != len(wanted) {
		t.Errorf("offline: %+v, %v", off, err)
	}
	if _, err := try(t, t.Context(), "org/other", nil); !errors.Is(err, ErrOffline) {
		t.Errorf("offline, another: %v", err)
	}
	if err := os.Remove(filepath.Join(res.Path, shard2)); err != nil {
		t.Fatal(err)
	}
	if _, err := try(t, t.Context(), "org/name", nil); !errors.Is(err, ErrOffline) {
		t.Errorf("offline, a part is missing: %v", err)
	}
}

// TestMisbehaviour is what a hub, or what stands between, may do: it is survived, or
// told in one line, and a file with a wrong content is never left under its name.
func TestMisbehaviour(t *testing.T) {
	isList := func(r hubtest.Request) bool { return r.File == "" }
	status := func(w http.ResponseWriter, code int, header ...string) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		return true
	}
	send := func(w http.ResponseWriter, text string) bool {
		fmt.Fprint(w, text)
		return true
	}
	list := func(sibling string) func(http.ResponseWriter, hubtest.Request) bool {
		return func(w http.ResponseWriter, r hubtest.Request) bool {
			return isList(r) && send(w, `{"sha":"`+hubtest.Commit+`","siblings":[{"rfilename":"config.json"},`+sibling+`]}`)
		}
	}
	cdn := func(f func(http.ResponseWriter, hubtest.Request) bool) func(http.ResponseWriter, hubtest.Request) bool {
		return func(w http.ResponseWriter, r hubtest.Request) bool { return r.CDN && r.File == shard1 && f(w, r) }
	}
	for name, x := range map[string]struct {
		bend func(http.ResponseWriter, hubtest.Request) bool
		env  map[string]string
		want error  // nil: it works all the same
		text string // in the message
	}{
		"drops connections":       {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool { return r.N < 10 && r.Drop(w, 20_000) })},
		"drops them all, at once": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool { return r.Drop(w, 0) }), want: ErrNetwork, text: "dropped"},
		"drops the list": {bend: func(_ http.ResponseWriter, r hubtest.Request) bool {
			if isList(r) && r.N < 3 {
				panic(http.ErrAbortHandler)
			}
			return false
		}},
		"sends nothing on and on": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool {
			if r.N > 1 {
				return false
			}
			w.Header().Set("Content-Length", "200000")
			w.Write(r.Data[:5000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		})},
		"ignores ranges": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool {
			if r.N < 3 {
				return r.Drop(w, 50_000)
			}
			w.Write(r.Data)
			return true
		})},
		"other ranges": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool {
			if r.N == 1 {
				return r.Drop(w, 50_000)
			}
			if r.Header.Get("Range") == "" {
				return false
			}
			w.Header().Set("Content-Range", "bytes 0-199999/200000")
			w.WriteHeader(206)
			w.Write(r.Data)
			return true
		})},
		"has no such range": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool {
			if r.N == 1 {
				return r.Drop(w, 50_000)
			}
			return r.N == 2 && status(w, 416)
		})},
		"says too long a length": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool {
			w.Header().Set("Content-Length", "200001")
			w.Write(r.Data)
			return true
		}), want: ErrDamaged, text: "200001 bytes"},
		"says too short a length": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool {
			w.Header().Set("Content-Length", "1000")
			w.Write(r.Data[:1000])
			return true
		}), want: ErrDamaged, text: "1000 bytes"},
		"sends too little, unsaid": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool {
			if r.Header.Get("Range") != "" {
				return status(w, 416)
			}
			w.Write(r.Data[:1000])
			w.(http.Flusher).Flush()
			return true
		}), want: ErrDamaged},
		"sends too much, unsaid": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool {
			w.(http.Flusher).Flush()
			w.Write(r.Data)
			w.Write(r.Data)
			return true
		}), want: ErrDamaged, text: "more than the 200000 bytes"},
		"sends other bytes": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool { w.Write(random(len(r.Data), 99)); return true }), want: ErrDamaged, text: "hash"},
		"sends other text": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			return r.File == "config.json" && send(w, `{"model_type":"LLAMA"}`)
		}, want: ErrDamaged, text: "config.json"},
		"packs": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(r.Data)
			return true
		}), want: ErrDamaged, text: "packed"},
		"has expired addresses":   {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool { return r.N == 1 && status(w, 403) })},
		"sends a page for a file": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool { return send(w, "<html>log in</html>") }), want: ErrDamaged},
		"is busy": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			return r.N == 1 && status(w, 429, "Retry-After", "0")
		}},
		"is busy on and on":   {bend: func(w http.ResponseWriter, r hubtest.Request) bool { return status(w, 429) }, want: ErrBusy, text: "429"},
		"is busy for an hour": {bend: func(w http.ResponseWriter, r hubtest.Request) bool { return status(w, 429, "Retry-After", "3600") }, want: ErrBusy, text: "1h0m0s"},
		"is busy until a time": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			return status(w, 503, "Retry-After", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat))
		}, want: ErrBusy, text: "h"},
		"fails and recovers": {bend: func(w http.ResponseWriter, r hubtest.Request) bool { return r.N == 1 && status(w, 502) }},
		"fails": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			return status(w, 500, "X-Error-Message", "Internal hf_secret")
		}, env: map[string]string{"HF_TOKEN": "hf_secret"}, want: ErrBusy, text: "Internal …"},
		"knows no such model": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			return status(w, 404, "X-Error-Code", "RepoNotFound")
		}, want: ErrNotFound, text: "no such model"},
		"says so with 401":  {bend: func(w http.ResponseWriter, r hubtest.Request) bool { return status(w, 401) }, want: ErrToken, text: "set HF_TOKEN"},
		"refuses the token": {bend: func(w http.ResponseWriter, r hubtest.Request) bool { return status(w, 401) }, env: map[string]string{"HF_TOKEN": "hf_secret"}, want: ErrToken, text: "token in HF_TOKEN"},
		"forbids":           {bend: func(w http.ResponseWriter, r hubtest.Request) bool { return status(w, 403) }, want: ErrToken, text: "403"},
		"is gated": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			return !isList(r) && status(w, 403, "X-Error-Code", "GatedRepo")
		}, want: ErrGated, text: "/org/name, then set HF_TOKEN"},
		"knows no such revision": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			return status(w, 404, "X-Error-Code", "RevisionNotFound")
		}, want: ErrNotFound, text: `revision "main"`},
		"has lost a file": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			return r.File == shard2 && status(w, 404, "X-Error-Code", "EntryNotFound")
		}, want: ErrNotFound, text: shard2},
		"answers with a page": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			return isList(r) && send(w, "<!doctype html><title>Log in</title>")
		}, want: ErrAnswer, text: "web page"},
		"answers with nonsense": {bend: func(w http.ResponseWriter, r hubtest.Request) bool { return isList(r) && send(w, `{"sha":`) }, want: ErrAnswer, text: "JSON"},
		"names no commit": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			return isList(r) && send(w, `{"sha":"../../../x","siblings":[]}`)
		}, want: ErrHostile, text: "commit"},
		"leads out of the cache":   {bend: list(`{"rfilename":"../../../evil.safetensors","size":4}`), want: ErrHostile, text: "evil"},
		"leads out on Windows":     {bend: list(`{"rfilename":"..\\evil.safetensors","size":4}`), want: ErrHostile, text: "evil"},
		"leads to the root":        {bend: list(`{"rfilename":"/etc/passwd","size":4}`), want: ErrHostile, text: "passwd"},
		"has a config of any size": {bend: list(`{"rfilename":"tokenizer.json","size":900000000000},{"rfilename":"model.safetensors","size":4}`), want: ErrHostile, text: "tokenizer.json"},
		"sends other bytes once": {bend: cdn(func(w http.ResponseWriter, r hubtest.Request) bool {
			return r.N == 1 && send(w, string(random(len(r.Data), 99)))
		})},
		"names a file twice":          {bend: list(`{"rfilename":"config.json"}`), want: ErrHostile, text: "twice"},
		"has a file of negative size": {bend: list(`{"rfilename":"model.safetensors","size":-5}`), want: ErrHostile, text: "-5 bytes"},
		"has a file of any size":      {bend: list(`{"rfilename":"model.safetensors","size":9000000000000000000}`), want: ErrHostile, text: "bytes"},
		"has a number beyond any":     {bend: list(`{"rfilename":"model.safetensors","size":1e400}`), want: ErrAnswer},
		"has too large a file":        {bend: list(`{"rfilename":"model.safetensors","size":900000000000000,"lfs":{"sha256":"` + strings.Repeat("ab", 32) + `","size":900000000000000}}`), want: ErrDisk, text: "HF_HUB_CACHE"},
		"has no weights":              {bend: list(`{"rfilename":"pytorch_model.bin"},{"rfilename":"tf_model.h5"}`), want: ErrNoWeights, text: "pytorch_model.bin, tf_model.h5"},
		"sends on for ever":           {bend: func(w http.ResponseWriter, r hubtest.Request) bool { return status(w, 302, "Location", r.URL.String()) }, want: ErrAnswer, text: "on and on"},
		"sends on to nowhere": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			return status(w, 302, "Location", "file:///etc/passwd")
		}, want: ErrAnswer},
		"says neither size nor hash": {bend: func(w http.ResponseWriter, r hubtest.Request) bool {
			if !isList(r) {
				return false
			}
			out := []string{}
			for name := range repository() {
				out = append(out, fmt.Sprintf(`{"rfilename":%q}`, name))
			}
			return send(w, `{"sha":"`+hubtest.Commit+`","siblings":[`+strings.Join(out, ",")+`]}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			repo := repository()
			h, cache := hubtest.New(t, map[string]map[string][]byte{"org/name": repo})
			h.Bend = x.bend
			for k, v := range x.env {
				t.Setenv(k, v)
			}
			start := time.Now()
			res, err := try(t, t.Context(), "org/name", nil)
			if x.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				check(t, res.Path, repo, wanted...)
				return
			}
			if !errors.Is(err, x.want) || !strings.Contains(err.Error(), x.text) || !strings.HasPrefix(err.Error(), "org/name: ") {
				t.Fatalf("%v; want %v with %q", err, x.want, x.text)
			}
			if s := err.Error(); strings.ContainsAny(s, "\n\x1b") || strings.Contains(s, "secret") || strings.Contains(s, "Signature") {
				t.Errorf("%q: not one clean line, or it tells what is secret", s)
			}
			if time.Since(start) > 5*time.Second {
				t.Errorf("took %s", time.Since(start))
			}
			_ = filepath.WalkDir(cache, func(path string, e fs.DirEntry, _ error) error {
				if e != nil && !e.IsDir() && strings.Contains(path, "snapshots") {
					if data, err := os.ReadFile(path); err == nil && !bytes.Equal(data, repo[filepath.Base(path)]) {
						t.Errorf("%s is left with a wrong content", path)
					}
				}
				return nil
			})
			if _, err := os.Stat(filepath.Join(filepath.Dir(cache), "evil.safetensors")); err == nil {
				t.Error("written outside of the cache")
			}
		})
	}
}

// What was interrupted goes on from where it ended, whoever began it.
func TestResume(t *testing.T) {
	for name, suffix := range map[string]string{"own": ".incomplete", "another program's": ".0123abcd.incomplete"} {
		for _, good := range []bool{true, false} {
			t.Run(fmt.Sprint(name, good), func(t *testing.T) {
				repo := repository()
				h, cache := hubtest.New(t, map[string]map[string][]byte{"org/name": repo})
				blobs := filepath.Join(cache, "models--org--name", "blobs")
				begun := bytes.Clone(repo[shard1][:150_000])
				if !good {
					begun[7]++
				}
				if err := errors.Join(os.MkdirAll(blobs, 0o755), os.WriteFile(filepath.Join(blobs, h.Hash(repo[shard1])+suffix), begun, 0o644)); err != nil {
					t.Fatal(err)
				}
				var needed int64
				res, err := try(t, t.Context(), "org/name", func(e Event) {
					if s, ok := e.(Started); ok && s.Files == 2 { // the weights
						needed = s.Needed
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				if needed != 150_000 {
					t.Errorf("%d bytes are said to be needed", needed)
				}
				check(t, res.Path, repo, wanted...)
				var ranges []string
				for _, r := range h.Requests() {
					if r.CDN && r.File == shard1 {
						ranges = append(ranges, r.Header.Get("Range"))
					}
				}
				want := "[bytes=150000-]"
				if !good {
					want = "[bytes=150000- ]"
				}
				if fmt.Sprint(ranges) != want {
					t.Errorf("ranges %q, want %s", ranges, want)
				}
				if left, _ := filepath.Glob(filepath.Join(blobs, "*.incomplete")); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

// A download that is cancelled keeps what came.
func TestCancel(t *testing.T) {
	repo := repository()
	h, _ := hubtest.New(t, map[string]map[string][]byte{"org/name": repo})
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	h.Bend = func(w http.ResponseWriter, r hubtest.Request) bool {
		if !r.CDN || r.File != shard1 || r.N > 1 {
			return false
		}
		w.Header().Set("Content-Length", "200000")
		w.Write(r.Data[:120_000]) //nolint:errcheck // the test sees what came
		w.(http.Flusher).Flush()
		time.Sleep(50 * time.Millisecond)
		cancel(stopped)
		<-r.Context().Done()
		return true
	}
	if _, err := try(t, ctx, "org/name", nil); !errors.Is(err, stopped) {
		t.Fatal(err)
	}
	if s, err := FromEnv(); err != nil {
		t.Fatal(err)
	} else if _, ok := s.Find(Ref{Repo: "org/name", Revision: "main"}); ok {
		t.Error("half a model is found")
	}
	res, err := try(t, t.Context(), "org/name", nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, res.Path, repo, wanted...)
	requests := h.Requests()
	var again string
	for _, r := range requests {
		if r.CDN && r.File == shard1 {
			again = r.Header.Get("Range")
		}
	}
	if again != "bytes=120000-" {
		t.Errorf("went on with range %q", again)
	}
}

// While another process has a content's lock, it is waited for, and what it brought
// is taken.
func TestWaits(t *testing.T) {
	repo := repository()
	h, cache := hubtest.New(t, map[string]map[string][]byte{"org/name": repo})
	path := filepath.Join(cache, ".locks", "models--org--name", h.Hash(repo[shard2])+".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := durable.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	res, err := try(t, t.Context(), "org/name", func(e Event) {
		if w, ok := e.(Waiting); ok && w.File == shard2 {
			blob := filepath.Join(cache, "models--org--name", "blobs", h.Hash(repo[shard2]))
			if err := os.WriteFile(blob, repo[shard2], 0o644); err != nil {
				t.Error(err)
			}
			lock.Unlock()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	check(t, res.Path, repo, wanted...)
	for _, r := range h.Requests() {
		if r.File == shard2 {
			t.Error("what another brought is downloaded again")
		}
	}
}

// Without links the contents are in the snapshot.
func TestNoLinks(t *testing.T) {
	repo := repository()
	_, cache := hubtest.New(t, map[string]map[string][]byte{"org/name": repo})
	t.Setenv("HF_HUB_DISABLE_SYMLINKS", "1")
	res, err := try(t, t.Context(), "org/name", nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, res.Path, repo, wanted...)
	if info, err := os.Lstat(filepath.Join(res.Path, shard1)); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v, %v", info, err)
	}
	if blobs, _ := os.ReadDir(filepath.Join(cache, "models--org--name", "blobs")); len(blobs) > 0 {
		t.Errorf("contents are there twice: %v", blobs)
	}
	if res, err = try(t, t.Context(), "org/name", nil); err != nil || res.Downloaded != 0 {
		t.Errorf("again: %+v, %v", res, err)
	}
}

// A repository that was renamed sends on to its new name, on the same host.
func TestRenamed(t *testing.T) {
	repo := repository()
	h, _ := hubtest.New(t, map[string]map[string][]byte{"new/name": repo})
	h.Token = "hf_secret"
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("hf_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HF_TOKEN_PATH", path)
	h.Bend = func(w http.ResponseWriter, r hubtest.Request) bool {
		if !strings.Contains(r.URL.Path, "org/old") {
			return false
		}
		http.Redirect(w, r.Request, strings.Replace(r.URL.String(), "org/old", "new/name", 1), http.StatusTemporaryRedirect)
		return true
	}
	res, err := try(t, t.Context(), "org/old", nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, res.Path, repo, wanted...)
	if !strings.Contains(res.Path, "models--org--old") {
		t.Errorf("path %s", res.Path)
	}
}

func TestPullGGUF(t *testing.T) {
	repo := map[string][]byte{"README.md": nil, "config.json": []byte("{}"), "mmproj-F16.gguf": random(10, 1), "m-Q4_K_M.gguf": random(3000, 2), "m-Q8_0.gguf": random(4000, 3),
		"BF16/m-BF16-00001-of-00002.gguf": random(5000, 4), "BF16/m-BF16-00002-of-00002.gguf": random(5000, 5), "m-Q6_K-00001-of-00002.gguf": random(9, 6), "m.imatrix.gguf": random(9, 7)}
	for ref, want := range map[string]struct {
		files string
		err   error
	}{
		"org/m":                 {files: "m-Q4_K_M.gguf"},
		"org/m:Q8_0":            {files: "m-Q8_0.gguf"},
		"org/m:q8_0":            {files: "m-Q8_0.gguf"},
		"org/m:m-Q8_0.gguf":     {files: "m-Q8_0.gguf"},
		"org/m@v1:bf16":         {files: "BF16/m-BF16-00001-of-00002.gguf BF16/m-BF16-00002-of-00002.gguf"},
		"org/m:Q4_K":            {err: ErrNotFound},
		"org/m:Q6_K":            {err: ErrNotFound},
		"org/m:other.gguf":      {err: ErrNotFound},
		"org/m:mmproj-F16.gguf": {err: ErrNotFound},
	} {
		t.Run(ref, func(t *testing.T) {
			hubtest.New(t, map[string]map[string][]byte{"org/m": repo})
			res, err := try(t, t.Context(), ref, nil)
			if !errors.Is(err, want.err) || err == nil && strings.Join(res.Files, " ") != want.files {
				t.Fatalf("%v, %v; want %s, %v", res.Files, err, want.files, want.err)
			}
			if err != nil {
				return
			}
			check(t, strings.TrimSuffix(res.Path, filepath.FromSlash(res.Files[0])), repo, res.Files...)
			s, _ := FromEnv()
			r, _ := Parse(ref)
			if found, ok := s.Find(r); !ok || found.Path != res.Path {
				t.Errorf("found %+v, %v; want %s", found, ok, res.Path)
			}
		})
	}
}

// What a repository lacks is said.
func TestNothingToPull(t *testing.T) {
	for files, want := range map[string]string{"": "neither model.safetensors nor a GGUF file", "adapter_model.safetensors": "adapter_model.safetensors alone", "model.safetensors": "no config.json",
		"config.json a.bin b.bin c.bin d.bin": "a.bin, b.bin, c.bin and 1 more alone", "config.json sub/model.safetensors": "neither", "mmproj.gguf": "neither"} {
		repo := map[string][]byte{}
		for name := range strings.FieldsSeq(files) {
			repo[name] = []byte("{}")
		}
		hubtest.New(t, map[string]map[string][]byte{"org/m": repo})
		_, err := try(t, t.Context(), "org/m", nil)
		if !errors.Is(err, ErrNoWeights) || !strings.Contains(strings.ReplaceAll(err.Error(), "repository has", ""), want) {
			t.Errorf("%q: %v; want %q", files, err, want)
		}
	}
}

func TestParse(t *testing.T) {
	for s, want := range map[string]Ref{
		"org/name": {"org/name", "main", ""}, "gpt2": {"gpt2", "main", ""}, "org/na.me-1_B@v1.0": {"org/na.me-1_B", "v1.0", ""},
		"org/name@refs/pr/3:Q4_K_M": {"org/name", "refs/pr/3", "Q4_K_M"}, "org/name:sub/f.gguf": {"org/name", "main", "sub/f.gguf"},
	} {
		got, err := Parse(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("%s: %+v (%s), %v", s, got, got, err)
		}
	}
	for _, s := range []string{"", "a/b/c", "../x", "org/..", "org/a--b", "org/name.git", "org/name@../x", "org/name:../x", "org/name@", "/org/name", "org/na me", "org/name@a b\x1b", "-x", "org/name:"} {
		if r, err := Parse(s); !errors.Is(err, ErrRef) {
			t.Errorf("%q: %+v, %v", s, r, err)
		}
	}
}
