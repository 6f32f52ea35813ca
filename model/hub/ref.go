package hub

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"nibble/model/source"
)

// Ref names a model on the hub: ORG/NAME[@REVISION][:FILE].
type Ref struct {
	Repo     string // "org/name", or "name" for some of the oldest
	Revision string // branch, tag or commit
	File     string // of a repository of GGUF files: one of them, or how it is quantized ("Q4_K_M"); "" chooses
}

// DefaultRevision is that of a Ref which names none.
const DefaultRevision = "main"

var (
	refForm  = regexp.MustCompile(`^([^@:]+)(?:@([^:]+))?(?::(.+))?$`)
	repoForm = regexp.MustCompile(`^(?:[A-Za-z0-9_][\w.-]{0,95}/)?[A-Za-z0-9_][\w.-]{0,95}$`)
)

// Parse reads a Ref.
func Parse(s string) (Ref, error) {
	m := refForm.FindStringSubmatch(s)
	bad := func(why string) (Ref, error) {
		return Ref{}, fmt.Errorf("%s: %w: %s; a model on the hub is ORG/NAME, with @REVISION or :FILE after it", source.Quote(s), ErrRef, why)
	}
	if m == nil {
		return bad("there is no name")
	}
	r := Ref{Repo: m[1], Revision: m[2], File: m[3]}
	if r.Revision == "" {
		r.Revision = DefaultRevision
	}
	if !repoForm.MatchString(r.Repo) || strings.Contains(r.Repo, "--") || strings.Contains(r.Repo, "..") ||
		strings.HasSuffix(r.Repo, ".git") || strings.ContainsAny(r.Repo[len(r.Repo)-1:], ".-") {
		return bad("no repository has such a name")
	}
	if !safeName(r.Revision) {
		return bad("no revision has such a name")
	}
	if r.File != "" && !safeName(r.File) {
		return bad("no file has such a name")
	}
	return r, nil
}

// String is what Parse reads.
func (r Ref) String() string {
	s := r.Repo
	if r.Revision != DefaultRevision {
		s += "@" + r.Revision
	}
	if r.File != "" {
		s += ":" + r.File
	}
	return s
}

// Name is the last part of the repository's name.
func (r Ref) Name() string { return r.Repo[strings.LastIndexByte(r.Repo, '/')+1:] }

// maxName bounds the names of files and revisions.
const maxName = 240

// leaves reports whether a name with slashes leads out of a directory, on any system.
func leaves(s string) bool {
	return !filepath.IsLocal(filepath.FromSlash(s)) || strings.ContainsAny(s, "\\\x00") || slices.Contains(strings.Split(s, "/"), "..")
}

// safeName reports whether a name with slashes can be that of a file on every system,
// inside of a directory, and can be shown.
func safeName(s string) bool {
	if len(s) > maxName || leaves(s) {
		return false
	}
	if strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) || r == utf8.RuneError || strings.ContainsRune(`:*?"<>|`, r)
	}) {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") {
			return false
		}
	}
	return true
}
