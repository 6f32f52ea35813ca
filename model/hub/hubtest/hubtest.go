// Package hubtest is a Hugging Face hub on the loopback interface, for tests: it
// serves repositories as the real one does, large files from another host, and can be
// told to misbehave.
package hubtest

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the hash that git names content by
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Commit is the commit that every revision of every repository is at.
const Commit = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00"

// Hub serves repositories.
type Hub struct {
	URL   string                       // HF_ENDPOINT
	Repos map[string]map[string][]byte // by name, then by file
	Token string                       // that is asked for; "" is none
	Large int                          // files of so many bytes and more are on the other host

	// Bend answers a request in the hub's place, if it returns true. It may change
	// the headers that are sent otherwise.
	Bend func(w http.ResponseWriter, r Request) bool

	cdn  string
	mu   sync.Mutex
	seen []Request
}

// Request is one that came.
type Request struct {
	*http.Request
	CDN  bool   // to the other host
	File string // that is asked for, "" for a list
	N    int    // of the requests for this file and method, from 1
	Data []byte // of the file
}

// New starts a hub that ends with the test, and points the environment to it and to a
// cache of its own, which it returns.
func New(t *testing.T, repos map[string]map[string][]byte) (hub *Hub, cache string) {
	h := &Hub{Repos: repos, Large: 1 << 10}
	own, cdn := httptest.NewServer(http.HandlerFunc(h.serve)), httptest.NewServer(http.HandlerFunc(h.serveCDN))
	t.Cleanup(own.Close)
	t.Cleanup(cdn.Close)
	h.URL, h.cdn = own.URL, cdn.URL
	home := t.TempDir()
	for name, value := range map[string]string{"HF_ENDPOINT": h.URL, "HF_HOME": home, "XDG_CACHE_HOME": home, "HF_HUB_CACHE": "", "HUGGINGFACE_HUB_CACHE": "", "HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "",
		"HF_TOKEN_PATH": "", "HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "", "LLAMA_CACHE": "", "HF_HUB_DISABLE_SYMLINKS": "", "HF_HUB_DISABLE_IMPLICIT_TOKEN": ""} {
		t.Setenv(name, value)
	}
	return h, home + "/hub"
}

// Requests are those that came so far.
func (h *Hub) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Request(nil), h.seen...)
}

// Hash is what the hub calls a content.
func (h *Hub) Hash(data []byte) string {
	if len(data) >= h.Large {
		return fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return fmt.Sprintf("%x", sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...)))
}

// note records a request and lets it be bent.
func (h *Hub) note(w http.ResponseWriter, r Request) (bent bool) {
	h.mu.Lock()
	r.N = 1
	for _, s := range h.seen {
		if s.File == r.File && s.CDN == r.CDN && s.Method == r.Method {
			r.N++
		}
	}
	h.seen = append(h.seen, r)
	bend := h.Bend
	h.mu.Unlock()
	return bend != nil && bend(w, r)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", message)
	http.Error(w, message, status)
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/models/"); ok {
		repo, kind, _ := cutAny(rest, "/revision/", "/tree/", "/refs")
		if !h.note(w, Request{Request: r}) && h.allowed(w, r) {
			h.list(w, repo, kind)
		}
		return
	}
	repo, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/resolve/")
	_, file, _ := strings.Cut(rest, "/")
	data, ok := h.Repos[repo][file]
	w.Header().Set("X-Repo-Commit", Commit)
	if h.note(w, Request{Request: r, File: file, Data: data}) || !h.allowed(w, r) {
		return
	}
	if h.Repos[repo] == nil {
		refuse(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
		return
	} else if !ok {
		refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	if len(data) < h.Large {
		w.Header().Set("ETag", `"`+h.Hash(data)+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		return
	}
	w.Header().Set("X-Linked-Etag", `"`+h.Hash(data)+`"`)
	w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
	w.Header().Set("X-Xet-Hash", strings.Repeat("ab", 32))
	w.Header().Set("Link", `<`+h.URL+`/api/models/`+repo+`/xet-read-token/`+Commit+`>; rel="xet-auth"`)
	http.Redirect(w, r, h.cdn+"/"+repo+"/"+file+"?X-Signature=secret", http.StatusFound)
}

// cutAny cuts at the first separator that occurs.
func cutAny(s string, separators ...string) (before, separator, after string) {
	for _, sep := range separators {
		if before, after, ok := strings.Cut(s, sep); ok {
			return before, sep, after
		}
	}
	return s, "", ""
}

func (h *Hub) allowed(w http.ResponseWriter, r *http.Request) bool {
	if h.Token == "" || r.Header.Get("Authorization") == "Bearer "+h.Token {
		return true
	}
	refuse(w, http.StatusUnauthorized, "", "Invalid username or password.")
	return false
}

func (h *Hub) list(w http.ResponseWriter, repo, kind string) {
	files, ok := h.Repos[repo]
	if !ok {
		refuse(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if kind == "/refs" {
		_ = json.NewEncoder(w).Encode(map[string]any{"branches": []any{map[string]any{"name": "main", "ref": "refs/heads/main", "targetCommit": Commit}}, "tags": []any{}})
		return
	}
	siblings, tree := []any{}, []any{}
	for name, data := range files {
		sibling := map[string]any{"rfilename": name, "size": len(data), "blobId": h.Hash(data)}
		entry := map[string]any{"type": "file", "path": name, "size": len(data), "oid": h.Hash(data)}
		if len(data) >= h.Large {
			sibling["lfs"] = map[string]any{"sha256": h.Hash(data), "size": len(data), "pointerSize": 130}
			entry["lfs"] = map[string]any{"oid": h.Hash(data), "size": len(data), "pointerSize": 130}
			sibling["blobId"], entry["oid"] = strings.Repeat("0", 40), strings.Repeat("0", 40)
		}
		siblings, tree = append(siblings, sibling), append(tree, entry)
	}
	if kind == "/tree/" {
		_ = json.NewEncoder(w).Encode(tree)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"id": repo, "modelId": repo, "sha": Commit, "siblings": siblings, "tags": []any{}, "downloads": 0, "likes": 0, "private": false})
}

func (h *Hub) serveCDN(w http.ResponseWriter, r *http.Request) {
	for repo, files := range h.Repos {
		file, ok := strings.CutPrefix(r.URL.Path, "/"+repo+"/")
		data, there := files[file]
		if !ok || !there {
			continue
		}
		if !h.note(w, Request{Request: r, CDN: true, File: file, Data: data}) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		}
		return
	}
	http.NotFound(w, r)
}

// Drop sends a file from where it is asked for, and drops the connection after n
// bytes.
func (r Request) Drop(w http.ResponseWriter, n int) bool {
	from := 0
	_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
	w.Header().Set("Content-Length", fmt.Sprint(len(r.Data)-from))
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(r.Data)-1, len(r.Data)))
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write(r.Data[from:min(len(r.Data), from+n)])
	panic(http.ErrAbortHandler)
}
