package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/hub/hubtest"
)

// The environment says what it says to huggingface_hub.
func TestFromEnv(t *testing.T) {
	for name, x := range map[string]struct {
		env   map[string]string
		cache string
	}{
		"home":             {map[string]string{"XDG_CACHE_HOME": "", "HF_HOME": ""}, "HOME/.cache/huggingface/hub"},
		"XDG_CACHE_HOME":   {map[string]string{"XDG_CACHE_HOME": "/x", "HF_HOME": ""}, "/x/huggingface/hub"},
		"HF_HOME":          {map[string]string{"XDG_CACHE_HOME": "/x", "HF_HOME": "~/y"}, "HOME/y/hub"},
		"HF_HUB_CACHE":     {map[string]string{"HF_HOME": "/y", "HF_HUB_CACHE": "$HF_HOME/z"}, "/y/z"},
		"its name of once": {map[string]string{"HF_HOME": "/y", "HUGGINGFACE_HUB_CACHE": "/z"}, "/z"},
	} {
		t.Run(name, func(t *testing.T) {
			hubtest.New(t, nil)
			home := t.TempDir()
			t.Setenv("HOME", home)
			for k, v := range x.env {
				t.Setenv(k, v)
			}
			s, err := FromEnv()
			if want := strings.Replace(x.cache, "HOME", home, 1); err != nil || s.Cache != want {
				t.Errorf("cache %s, %v; want %s", s.Cache, err, want)
			}
		})
	}
	hubtest.New(t, nil)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(" hf_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		env         map[string]string
		token, from string
	}{
		{nil, "", ""},
		{map[string]string{"HF_TOKEN_PATH": file}, "hf_file", file},
		{map[string]string{"HUGGING_FACE_HUB_TOKEN": "hf_old"}, "hf_old", "HUGGING_FACE_HUB_TOKEN"},
		{map[string]string{"HF_TOKEN": "hf_env\n"}, "hf_env", "HF_TOKEN"},
	} {
		for k, v := range x.env { // each goes before those that came earlier
			t.Setenv(k, v)
		}
		if s, err := FromEnv(); err != nil || s.token != x.token || x.from != "" && s.tokenFrom != x.from {
			t.Errorf("%v: token %q from %s, %v", x.env, s.token, s.tokenFrom, err)
		}
	}
	for name, value := range map[string]string{"HF_TOKEN": "hf_\x1b[31msecret", "HF_ENDPOINT": "ftp://secret.example"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if _, err := FromEnv(); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v", err)
			}
		})
	}
}

// Of the older cache of llama.cpp, and of a cache of the hub's layout that it was
// given, models are found.
func TestFindOthers(t *testing.T) {
	_, cache := hubtest.New(t, nil)
	flat := filepath.Join(os.Getenv("XDG_CACHE_HOME"), "llama.cpp")
	other := t.TempDir()
	t.Setenv("LLAMA_CACHE", other)
	in := "models--org--new/snapshots/" + hubtest.Commit
	for _, path := range []string{filepath.Join(flat, "org_old_old-Q4_K_M.gguf"), filepath.Join(flat, "org_old_old-Q8_0.gguf"), filepath.Join(other, in, "new-Q8_0.gguf"),
		filepath.Join(other, "models--org--new/refs/main")} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(hubtest.Commit), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := FromEnv()
	if err != nil || s.Cache != cache {
		t.Fatal(s.Cache, err)
	}
	for ref, want := range map[string]string{"org/old": filepath.Join(flat, "org_old_old-Q4_K_M.gguf"), "org/old:Q8_0": filepath.Join(flat, "org_old_old-Q8_0.gguf"),
		"org/new": filepath.Join(other, in, "new-Q8_0.gguf"), "org/old@v1": "", "org/ol": "", "org/old:Q6_K": ""} {
		r, err := Parse(ref)
		if err != nil {
			t.Fatal(err)
		}
		if found, ok := s.Find(r); found.Path != want || ok != (want != "") {
			t.Errorf("%s: %s, %v; want %s", ref, found.Path, ok, want)
		}
	}
}

// FuzzListing reads lists and indexes of any content: what is taken stays inside.
func FuzzListing(f *testing.F) {
	f.Add([]byte(`{"sha":"` + hubtest.Commit + `","siblings":[{"rfilename":"a/b","size":3,"blobId":"x","lfs":{"sha256":"y","size":4}}]}`))
	f.Add([]byte(`{"weight_map":{"a":"b","c":"../d"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, err := parseListing(Ref{Repo: "org/name"}, data); err == nil {
			for _, x := range l.files {
				if !filepath.IsLocal(x.Name) || x.Size < -1 || x.Size > maxSize || x.Hash != "" && !etagForm.MatchString(x.Hash) {
					t.Errorf("%+v", x)
				}
			}
			chooseGGUF(l.files, "") //nolint:errcheck // any error will do
			chooseSmall(l.files)    //nolint:errcheck // any error will do
		}
		if shards, err := parseIndex(data); err == nil {
			for _, s := range shards {
				if !filepath.IsLocal(s) {
					t.Errorf("%q", s)
				}
			}
		}
	})
}
