package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"

	"nibble/model/source"
)

// File is one of a repository.
type File struct {
	Name string `json:"name"` // with slashes
	Size int64  `json:"size"` // -1 if unknown
	Hash string `json:"hash"` // SHA-256, or SHA-1 as git has it; "" if unknown
}

// listing is a revision of a repository.
type listing struct {
	commit string
	files  []File
}

const (
	maxListing = 64 << 20
	maxFiles   = 100_000
	maxSize    = 1 << 50
)

var (
	commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)
	hashForm   = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
)

// list asks what a revision holds.
func (c *client) list(ctx context.Context, ref Ref) (l listing, err error) {
	err = c.retry(ctx, ref.String(), func() (bool, error) {
		l, err = c.listOnce(ctx, ref)
		return false, err
	})
	return l, err
}

func (c *client) listOnce(ctx context.Context, ref Ref) (listing, error) {
	at := c.Endpoint.JoinPath("api/models", ref.Repo).String() + "/revision/" + url.PathEscape(ref.Revision) + "?blobs=true"
	a, err := c.ask(ctx, http.MethodGet, at, http.Header{"Accept": {"application/json"}}, ref, "")
	if err != nil {
		return listing{}, err
	}
	defer a.Body.Close()
	data, err := io.ReadAll(io.LimitReader(a.Body, maxListing+1))
	if err != nil {
		return listing{}, retriable(fmt.Errorf("%s: %w: %s", ref, ErrNetwork, networkError(err)))
	}
	if len(data) > maxListing {
		return listing{}, fmt.Errorf("%s: %w: its list of files is longer than %d MB", ref, ErrHostile, maxListing>>20)
	}
	return parseListing(ref, data)
}

// parseListing reads what the hub answers.
func parseListing(ref Ref, data []byte) (listing, error) {
	var raw struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
			Size *int64 `json:"size"`
			Blob string `json:"blobId"`
			LFS  *struct {
				SHA256 string `json:"sha256"`
				Size   *int64 `json:"size"`
			} `json:"lfs"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		if text := bytes.TrimSpace(data); len(text) > 0 && text[0] == '<' {
			return listing{}, fmt.Errorf("%s: %w but a web page: check HF_ENDPOINT, and whether this network asks for a login", ref, ErrAnswer)
		}
		return listing{}, fmt.Errorf("%s: %w: no JSON: %v", ref, ErrAnswer, err)
	}
	hostile := func(format string, args ...any) (listing, error) {
		return listing{}, fmt.Errorf("%s: %w: %s; nothing of it is used", ref, ErrHostile, fmt.Sprintf(format, args...))
	}
	if !commitForm.MatchString(raw.SHA) {
		return hostile("commit %s", source.Quote(raw.SHA))
	}
	if len(raw.Siblings) > maxFiles {
		return hostile("%d files", len(raw.Siblings))
	}
	l := listing{commit: raw.SHA}
	seen := map[string]bool{}
	for _, s := range raw.Siblings {
		f := File{Name: s.Name, Size: -1, Hash: s.Blob}
		if s.Size != nil {
			f.Size = *s.Size
		}
		if s.LFS != nil {
			f.Hash = s.LFS.SHA256
			if s.LFS.Size != nil {
				f.Size = *s.LFS.Size
			}
		}
		switch {
		case leaves(f.Name):
			return hostile("a file %s", source.Quote(f.Name))
		case f.Size < -1 || f.Size > maxSize:
			return hostile("a file %s of %d bytes", source.Quote(f.Name), f.Size)
		case seen[f.Name]:
			return hostile("the file %s twice", source.Quote(f.Name))
		case !hashForm.MatchString(f.Hash):
			f.Hash = "" // its own answer names one
		}
		seen[f.Name] = true
		if safeName(f.Name) { // no file of a model has another one
			l.files = append(l.files, f)
		}
	}
	return l, nil
}

// fileAt is the address of a file.
func (c *client) fileAt(ref Ref, commit, name string) string {
	return c.Endpoint.JoinPath(ref.Repo).String() + "/resolve/" + commit + "/" + (&url.URL{Path: name}).EscapedPath()
}

// describe asks for what the list of files does not say of one.
func (c *client) describe(ctx context.Context, ref Ref, commit string, f File) (out File, err error) {
	out = f
	err = c.retry(ctx, f.Name, func() (bool, error) {
		a, err := c.ask(ctx, http.MethodHead, c.fileAt(ref, commit, f.Name), http.Header{"Accept-Encoding": {"identity"}}, ref, f.Name)
		if err != nil {
			return false, err
		}
		a.Body.Close()
		switch {
		case a.commit == "" || a.etag == "":
			return false, fmt.Errorf("%s: %w: it says nothing of the commit and content of %s: check HF_ENDPOINT, and whether this network asks for a login", ref, ErrAnswer, f.Name)
		case a.size > maxSize:
			return false, fmt.Errorf("%s: %w: a file %s of %d bytes", ref, ErrHostile, source.Quote(f.Name), a.size)
		case f.Size >= 0 && a.size >= 0 && f.Size != a.size:
			return false, retriable(fmt.Errorf("%s: %w: %s has %d bytes in the list of files, and %d by itself", ref, ErrDamaged, f.Name, f.Size, a.size))
		}
		if out.Size < 0 {
			out.Size = a.size
		}
		if out.Hash == "" {
			out.Hash = a.etag
		}
		return false, nil
	})
	if err == nil && !etagForm.MatchString(out.Hash) {
		err = fmt.Errorf("%s: %w: the content of %s is called %s", ref, ErrHostile, f.Name, source.Quote(out.Hash))
	}
	return out, err
}

// etagForm is what can be the name of a blob.
var etagForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)
