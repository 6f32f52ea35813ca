package hub

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Settings are what the environment says about the hub, under the names that
// huggingface_hub gave them.
type Settings struct {
	Endpoint  *url.URL // HF_ENDPOINT
	Cache     string   // HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME
	Others    []string // caches of the same layout that are only read: LLAMA_CACHE
	Flat      []string // where llama.cpp kept GGUF files before it used this layout
	Offline   bool     // HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE
	NoLinks   bool     // HF_HUB_DISABLE_SYMLINKS
	token     string   // HF_TOKEN, HUGGING_FACE_HUB_TOKEN or a file
	tokenFrom string   // where it is from, for messages
}

const defaultEndpoint = "https://huggingface.co"

// FromEnv reads the environment.
func FromEnv() (Settings, error) {
	home := expand(first("HF_HOME"), filepath.Join(expand(first("XDG_CACHE_HOME"), "~/.cache"), "huggingface"))
	s := Settings{Cache: expand(first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"), filepath.Join(home, "hub")),
		Offline: isTrue(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")), NoLinks: isTrue(os.Getenv("HF_HUB_DISABLE_SYMLINKS"))}
	if other := os.Getenv("LLAMA_CACHE"); other != "" {
		s.Others = append(s.Others, expand(other, ""))
		s.Flat = append(s.Flat, expand(other, ""))
	}
	if dir, err := os.UserCacheDir(); err == nil {
		s.Flat = append(s.Flat, filepath.Join(dir, "llama.cpp"))
	}
	endpoint := first("HF_ENDPOINT")
	if endpoint == "" {
		endpoint = defaultEndpoint
	}
	u, err := url.Parse(strings.TrimRight(endpoint, "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return s, fmt.Errorf("HF_ENDPOINT is no address of a hub: it must be like %s", defaultEndpoint)
	}
	s.Endpoint = u
	return s, s.readToken(home)
}

// readToken finds the token, if there is one.
func (s *Settings) readToken(home string) error {
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if s.token = strings.TrimSpace(os.Getenv(name)); s.token != "" {
			s.tokenFrom = name
			break
		}
	}
	if s.token == "" && !isTrue(os.Getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		s.tokenFrom = expand(first("HF_TOKEN_PATH"), filepath.Join(home, "token"))
		if info, err := os.Stat(s.tokenFrom); err == nil && info.Mode().IsRegular() && info.Size() <= maxToken {
			data, _ := os.ReadFile(s.tokenFrom) // one that cannot be read is none, as for others
			s.token = strings.TrimSpace(string(data))
		}
	}
	if len(s.token) > maxToken || strings.ContainsFunc(s.token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("the token in %s holds what no token has: copy it again from %s", s.tokenFrom, s.page("settings/tokens"))
	}
	return nil
}

const maxToken = 4096

// page is the address of a page of the hub for people.
func (s Settings) page(at string) string { return s.Endpoint.Redacted() + "/" + at }

// first is the first of some variables that is set.
func first(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}

// expand is a path with variables and the home directory filled in.
func expand(given, otherwise string) string {
	if given == "" {
		given = otherwise
	}
	given = os.ExpandEnv(given)
	if rest, ok := strings.CutPrefix(given, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		if home, err := os.UserHomeDir(); err == nil {
			given = home + rest
		}
	}
	return filepath.FromSlash(given)
}

func isTrue(v string) bool {
	switch strings.ToUpper(v) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}
