package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model"
	"nibble/model/demo/demotest"
	"nibble/model/export"
	"nibble/model/hub"
	"nibble/model/hub/hubtest"
)

// write makes files, by their paths below a directory.
func write(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// directory is a small model as the files of a directory.
func directory(t *testing.T) map[string][]byte {
	t.Helper()
	dir := demotest.Short(t, 1)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// ggufFile is a small model as a GGUF file.
func ggufFile(t *testing.T) []byte {
	t.Helper()
	ck, err := model.Open(demotest.Short(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	path := filepath.Join(t.TempDir(), "m.gguf")
	if _, err := export.Run(t.Context(), export.Options{Source: ck, Out: path}, nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// manifest is one of Ollama's, of layers of some kinds with digests.
func manifest(t *testing.T, layers ...string) []byte {
	t.Helper()
	var list []any
	for i := 0; i < len(layers); i += 2 {
		list = append(list, map[string]any{"mediaType": "application/vnd.ollama.image." + layers[i], "digest": layers[i+1], "size": 1})
	}
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "layers": list})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// stores fills every store of a home directory, and returns what must be listed.
func stores(t *testing.T) (h *hubtest.Hub, want map[string]string) {
	t.Helper()
	dir, file := directory(t), ggufFile(t)
	repo := map[string][]byte{"m-Q4_0.gguf": file, "m-Q8_0.gguf": file}
	h, cache := hubtest.New(t, map[string]map[string][]byte{"org/dir": dir, "org/files": repo})
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("OLLAMA_MODELS", filepath.Join(home, "ollama"))
	digest := strings.Repeat("1a", 32)
	unfinished := "models--org--half/snapshots/" + hubtest.Commit + "/config.json"
	write(t, cache, map[string][]byte{unfinished: dir["config.json"], "models--org--half/refs/main": []byte(hubtest.Commit), "models--../refs/main": []byte("x"),
		"models--org--bad/refs/main": []byte("../../.."), "datasets--org--d/refs/main": []byte(hubtest.Commit)})
	write(t, filepath.Join(home, "ollama"), map[string][]byte{
		"blobs/sha256-" + digest:                            file,
		"manifests/registry.ollama.ai/library/small/1b":     manifest(t, "model", "sha256:"+digest, "template", "sha256:"+digest),
		"manifests/registry.ollama.ai/someone/small/latest": manifest(t, "model", "sha256:"+digest),
		"manifests/hf.co/someone/files/Q4_0":                manifest(t, "model", "sha256:"+digest),
		"manifests/registry.ollama.ai/library/gone/latest":  manifest(t, "model", "sha256:"+strings.Repeat("2b", 32)),
		"manifests/registry.ollama.ai/library/evil/latest":  manifest(t, "model", "sha256:../../../../etc/passwd"),
		"manifests/registry.ollama.ai/library/tensors/all":  manifest(t, "tensor", "sha256:"+digest),
		"manifests/registry.ollama.ai/library/tuned/latest": manifest(t, "model", "sha256:"+digest, "adapter", "sha256:"+digest),
		"manifests/registry.ollama.ai/library/noise/latest": []byte("{"),
	})
	write(t, filepath.Join(home, ".lmstudio", "models"), map[string][]byte{"pub/one/one.gguf": file, "pub/two/a.gguf": file, "pub/two/b.gguf": file[:5000], "pub/two/mmproj-a.gguf": file, "loose.gguf": file})
	for name, data := range dir {
		write(t, filepath.Join(home, ".lmstudio", "models", "pub", "mlx"), map[string][]byte{name: data})
	}
	write(t, filepath.Join(os.Getenv("XDG_CACHE_HOME"), "llama.cpp"), map[string][]byte{"org_old_old-Q4_0.gguf": file, "org_old_old-Q4_0.gguf.json": []byte("{}")})
	for _, ref := range []string{"org/dir", "org/files:Q4_0", "org/files:Q8_0"} {
		ck, err := Open(t.Context(), ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		ck.Close()
	}
	return h, map[string]string{ // what is not opened has its reason
		"org/dir": "", "org/files:Q4_0": "", "org/files:Q8_0": "", "org/half": "nibble pull org/half",
		"ollama:small:1b": "", "ollama:someone/small:latest": "", "ollama:hf.co/someone/files:Q4_0": "",
		"ollama:gone:latest": "ollama pull", "ollama:evil:latest": "corrupt", "ollama:tensors:all": "tensor", "ollama:tuned:latest": "adapter", "ollama:noise:latest": "corrupt",
		"lmstudio:pub/one": "", "lmstudio:pub/two/a.gguf": "", "lmstudio:pub/two/b.gguf": "truncated", "lmstudio:pub/mlx": "",
		filepath.Join(os.Getenv("XDG_CACHE_HOME"), "llama.cpp", "org_old_old-Q4_0.gguf"): "",
	}
}

// What is listed is what there is, each under the name by which it opens.
func TestList(t *testing.T) {
	_, want := stores(t)
	extra := t.TempDir()
	for name, data := range directory(t) {
		write(t, extra, map[string][]byte{"a/" + name: data})
	}
	write(t, extra, map[string][]byte{"b/config.json": []byte(`{"architectures":["BertModel"],"model_type":"bert","quantization_config":{"quant_method":"gptq"}}`), "b/model.safetensors": {1, 2, 3},
		"c/config.json": []byte(`{"model_type":"llama"}`), "c/pytorch_model.bin": {1}, "d/config.json": []byte("{}"),
		"e/m-00001-of-00002.gguf": ggufFile(t), "e/m-00002-of-00002.gguf": []byte("GGUF")})
	want[filepath.Join(extra, "a")], want[filepath.Join(extra, "b")], want[filepath.Join(extra, "c")] = "", "BertModel", "no weights"
	want[filepath.Join(extra, "e", "m-00001-of-00002.gguf")] = "truncated"
	list, err := List(t.Context(), Dir{Path: extra}, Dir{Path: filepath.Join(extra, "nowhere")})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		reason, ok := want[e.Ref]
		delete(want, e.Ref)
		if !ok || e.Opens != (reason == "") || !strings.Contains(e.Reason, reason) {
			t.Errorf("%+v; expected: %v, with the reason %q", e, ok, reason)
		}
		switch {
		case e.Opens && (e.Arch != "LlamaForCausalLM" || e.SizeBytes == 0 || e.Params == 0 || e.DType == ""):
			t.Errorf("%+v", e)
		case filepath.Base(e.Ref) == "b" && (e.Arch != "BertModel" || e.Format != "gptq"), filepath.Base(e.Ref) == "c" && e.Format != "bin",
			strings.HasSuffix(e.Path, ".gguf") && (e.Format != "gguf" || e.Arch == "" && e.Opens):
			t.Errorf("%+v", e)
		}
		if !e.Opens {
			continue
		}
		ck, err := Look(t.Context(), e.Ref, nil)
		if err != nil {
			t.Errorf("%s is listed and does not open: %v", e.Ref, err)
			continue
		}
		if ck.Ref != e.Ref || ck.Params() != e.Params || strings.ContainsAny(ck.Name, "/:") || ck.Name == hubtest.Commit || strings.HasPrefix(ck.Name, "sha256") {
			t.Errorf("%s opens as %s, %s with %d parameters", e.Ref, ck.Ref, ck.Name, ck.Params())
		}
		ck.Close()
	}
	for ref := range want {
		t.Errorf("%s is not listed", ref)
	}
}

// A model of the hub is downloaded once, and then opened without asking.
func TestOpenFromHub(t *testing.T) {
	h, _ := hubtest.New(t, map[string]map[string][]byte{"org/dir": directory(t)})
	for i := range 2 {
		asked := len(h.Requests())
		ck, err := Open(t.Context(), "org/dir@v1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if ck.Name != "dir" || ck.Ref != "org/dir@v1" || !strings.Contains(ck.Path, "snapshots") || ck.Tokenizer == nil {
			t.Errorf("%s %s %s", ck.Name, ck.Ref, ck.Path)
		}
		ck.Close()
		if n := len(h.Requests()) - asked; (n > 0) != (i == 0) {
			t.Errorf("opened for the %d. time: %d requests", i+1, n)
		}
	}
	for ref, want := range map[string]error{"org/nothing": hub.ErrNotFound, "nothing": model.ErrNotFound, "./org/dir": model.ErrNotFound, "a/b/c": model.ErrNotFound,
		"ollama:none": model.ErrNotFound, "ollama:../../x": model.ErrNotFound, "lmstudio:../x": model.ErrNotFound, "org/dir:Q4_0": hub.ErrNoWeights} {
		if ck, err := Open(t.Context(), ref, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v, %v; want %v", ref, ck, err, want)
		}
	}
	for ref, want := range map[string]bool{"demo": true, "org/any": true, "ollama:x": true, "dir": false, "inof": false, "a/b/c": false} {
		if Known(ref) != want {
			t.Errorf("%s: known is %v", ref, !want)
		}
	}
}

// What lies at a path goes before what has the same name on the hub.
func TestPathBeforeName(t *testing.T) {
	h, _ := hubtest.New(t, nil)
	t.Chdir(t.TempDir())
	for name, data := range directory(t) {
		write(t, "org/dir", map[string][]byte{name: data})
	}
	ck, err := Open(t.Context(), "org/dir", nil)
	if err != nil || len(h.Requests()) > 0 {
		t.Fatalf("%v, %d requests", err, len(h.Requests()))
	}
	ck.Close()
}

// FuzzManifest reads manifests of any content.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:` + strings.Repeat("00", 32) + `"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "m")
		write(t, filepath.Dir(path), map[string][]byte{"m": bytes.Clone(data)})
		if blob, err := ollamaBlob(t.TempDir(), path); err == nil {
			t.Errorf("%s", fmt.Sprint(blob))
		}
	})
}
