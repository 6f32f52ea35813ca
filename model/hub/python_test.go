package hub

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/hub/hubtest"
)

// command is a program for a Python that has huggingface_hub.
func command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	interpreter := os.Getenv("NIBBLE_HUB_PYTHON")
	if interpreter == "" {
		t.Skip("NIBBLE_HUB_PYTHON does not name a Python that has huggingface_hub")
	}
	cmd := exec.Command(interpreter, append([]string{"-c", program}, args...)...)
	cmd.Env = []string{"HF_HUB_DISABLE_XET=1", "HF_HUB_DISABLE_TELEMETRY=1", "HF_HUB_DISABLE_PROGRESS_BARS=1"}
	for _, v := range os.Environ() {
		if !strings.HasSuffix(v, "=") { // which is not the same as unset there
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// python runs a program, every assertion of which must hold.
func python(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := command(t, program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// What this package downloads Python finds, with the network and without, and what
// Python downloads is found here.
func TestPythonAgrees(t *testing.T) {
	repo := repository()
	repo["m-Q4_0.gguf"] = random(4000, 8)
	h, cache := hubtest.New(t, map[string]map[string][]byte{"org/name": repo, "org/files": repo})
	h.Token = "hf_secret"
	t.Setenv("HF_TOKEN", "hf_secret")
	res, err := try(t, t.Context(), "org/name", nil)
	if err != nil {
		t.Fatal(err)
	}
	n := len(h.Requests())
	const load = `
import os, sys, hashlib
from huggingface_hub import hf_hub_download, try_to_load_from_cache, snapshot_download, scan_cache_dir, _CACHED_NO_EXIST
for name in sys.argv[1:]:
    path = hf_hub_download("org/name", name)
    assert path == try_to_load_from_cache("org/name", name), path
    digest = os.path.basename(os.path.realpath(path))
    data = open(path, "rb").read()
    assert digest in (hashlib.sha256(data).hexdigest(), hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()), name
assert try_to_load_from_cache("org/name", "generation_config.json") is _CACHED_NO_EXIST
repos = scan_cache_dir()
assert not repos.warnings and [r.repo_id for r in repos.repos] == ["org/name"], repos
assert len(next(iter(next(iter(repos.repos)).revisions)).files) == len(sys.argv) - 1, repos
print(snapshot_download("org/name", local_files_only=True))
`
	if dir := python(t, load, wanted...); dir != res.Path {
		t.Errorf("Python's snapshot is %s, not %s", dir, res.Path)
	}
	for _, r := range h.Requests()[n:] {
		if r.Method != "HEAD" || r.CDN {
			t.Errorf("Python asked for %s %s", r.Method, r.URL)
		}
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	n = len(h.Requests())
	python(t, load, wanted...)
	if len(h.Requests()) > n {
		t.Error("Python asked though it is offline")
	}

	// The other way: into an empty cache, in part and with a leftover.
	t.Setenv("HF_HUB_OFFLINE", "")
	if err := os.RemoveAll(cache); err != nil {
		t.Fatal(err)
	}
	python(t, `
from huggingface_hub import snapshot_download, hf_hub_download
snapshot_download("org/name", allow_patterns=["*.json", "*.safetensors"], ignore_patterns=["original/*"])
hf_hub_download("org/files", "m-Q4_0.gguf", revision="v1")
`)
	n = len(h.Requests())
	again, err := try(t, t.Context(), "org/name", nil)
	if err != nil || again.Downloaded != 0 || again.Path != res.Path || len(h.Requests()) != n+1 {
		t.Errorf("%+v, %v, %d requests", again, err, len(h.Requests())-n)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	for _, ref := range []string{"org/name", "org/files@v1:Q4_0"} {
		if found, err := try(t, t.Context(), ref, nil); err != nil || !strings.HasPrefix(found.Path, cache) {
			t.Errorf("%s: %+v, %v", ref, found, err)
		}
	}
	s, err := FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, f := range s.All() {
		if f.Whole {
			refs = append(refs, f.Ref.String())
		}
	}
	if got := strings.Join(refs, " "); got != "org/files@v1:Q4_0 org/name" {
		t.Errorf("found %s", got)
	}
}

// A lock that Python holds is waited for.
func TestPythonLocks(t *testing.T) {
	repo := repository()
	h, cache := hubtest.New(t, map[string]map[string][]byte{"org/name": repo})
	lock := filepath.Join(cache, ".locks", "models--org--name", h.Hash(repo[shard1])+".lock")
	cmd := command(t, `
import os, sys
from huggingface_hub.utils import WeakFileLock
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
with WeakFileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
print("free", flush=True)
`, lock)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	if _, err := io.ReadFull(out, line); err != nil || string(line) != "held\n" {
		t.Fatalf("%q, %v", line, err)
	}
	waited := false
	res, err := try(t, t.Context(), "org/name", func(e Event) {
		if w, ok := e.(Waiting); ok && w.File == shard1 {
			waited = true
			in.Write([]byte("\n")) //nolint:errcheck // the download ends if it came
		}
	})
	if err != nil || !waited {
		t.Fatalf("%v, waited: %v", err, waited)
	}
	check(t, res.Path, repo, wanted...)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
