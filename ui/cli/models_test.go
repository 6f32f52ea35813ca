package cli

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/demo"
	"nibble/model/hub/hubtest"
)

// demoFiles are the files of the demo.
func demoFiles(t *testing.T) map[string][]byte {
	t.Helper()
	entries, err := demo.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = demo.Files.ReadFile(e.Name()); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// lines decodes what --json prints.
func lines(t *testing.T, out string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(out) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, v)
	}
	return all
}

// A model is downloaded, listed, described and run by its name.
func TestPullAndModels(t *testing.T) {
	_, cache := hubtest.New(t, map[string]map[string][]byte{"org/demo": demoFiles(t)})
	t.Setenv("HOME", t.TempDir())
	t.Setenv("OLLAMA_MODELS", t.TempDir())
	code, out, errs := nibble("", "pull", "org/demo", "--json")
	all := lines(t, out)
	last := all[len(all)-1]
	want := filepath.Join(cache, "models--org--demo", "snapshots", hubtest.Commit)
	if code != ExitOK || last["type"] != "result" || last["path"] != want || all[0]["type"] != "download_started" {
		t.Fatalf("code %d: %s%s", code, out, errs)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	code, out, _ = nibble("", "models", "--json")
	models, _ := lines(t, out)[0]["models"].([]any)
	var m map[string]any
	for _, v := range models {
		if e := v.(map[string]any); e["ref"] == "org/demo" {
			m = e
		}
	}
	if code != ExitOK || m == nil {
		t.Fatalf("code %d: %s", code, out)
	}
	if m["ref"] != "org/demo" || m["arch"] != "LlamaForCausalLM" || m["format"] != "safetensors" || m["opens"] != true || m["reason"] != "" || m["size_bytes"].(float64) < 1e6 {
		t.Errorf("%v", m)
	}
	_, byName, _ := nibble("", "info", "org/demo")
	_, builtIn, _ := nibble("", "info", "demo")
	if byName != builtIn || byName == "" {
		t.Errorf("by name:\n%s\nbuilt in:\n%s", byName, builtIn)
	}
	_, byName, errs = nibble("", "run", "org/demo", "-p", "Once", "--raw", "-n", "5", "--temp", "0")
	if _, builtIn, _ = nibble("", "run", "demo", "-p", "Once", "--raw", "-n", "5", "--temp", "0"); byName != builtIn || byName == "" {
		t.Errorf("by name: %q, built in: %q; %s", byName, builtIn, errs)
	}
}

func TestPullMistakes(t *testing.T) {
	h, _ := hubtest.New(t, map[string]map[string][]byte{"org/gated": demoFiles(t)})
	h.Bend = func(w http.ResponseWriter, r hubtest.Request) bool {
		if r.File != "" {
			w.Header().Set("X-Error-Code", "GatedRepo")
			w.WriteHeader(http.StatusForbidden)
		}
		return r.File != ""
	}
	t.Setenv("HF_TOKEN", "hf_abcdefgh")
	for _, x := range []struct {
		arg  string
		code int
		says string
	}{{"../x", ExitUsage, "ORG/NAME"}, {"org/nothing", ExitFailed, "no such model"}, {"org/gated", ExitFailed, "accept its licence at " + h.URL + "/org/gated"}} {
		code, _, errs := nibble("", "pull", x.arg)
		if code != x.code || !strings.Contains(errs, x.says) || strings.Contains(errs, "hf_abc") {
			t.Errorf("%s: code %d: %s", x.arg, code, errs)
		}
	}
}
