package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nibble/kernels/durable"
	"nibble/model/source"
)

// folder is where a repository lies in a cache.
//
//	models--ORG--NAME/refs/REVISION            the commit
//	models--ORG--NAME/blobs/HASH               the content
//	models--ORG--NAME/snapshots/COMMIT/FILE    a link to it
//	models--ORG--NAME/.no_exist/COMMIT/FILE    that there is none
//	.locks/models--ORG--NAME/HASH.lock         held by who downloads it
type folder struct {
	cache string
	name  string
}

const repoPrefix = "models--"

func (s Settings) folder(repo string) folder {
	return folder{s.Cache, repoPrefix + strings.ReplaceAll(repo, "/", "--")}
}

func (f folder) path(parts ...string) string {
	return filepath.Join(append([]string{f.cache, f.name}, parts...)...)
}

func (f folder) ref(revision string) string {
	return f.path("refs", filepath.FromSlash(revision))
}

func (f folder) snapshot(commit string) string { return f.path("snapshots", commit) }

func (f folder) file(commit, name string) string {
	return filepath.Join(f.snapshot(commit), filepath.FromSlash(name))
}

func (f folder) blob(hash string) string { return f.path("blobs", hash) }

// commit is what a revision was when it was downloaded last, "" if it never was.
func (f folder) commit(revision string) string {
	if commitForm.MatchString(revision) {
		return revision
	}
	data, _, err := source.Read(f.ref(revision), 256)
	if commit := strings.TrimSpace(string(data)); err == nil && commitForm.MatchString(commit) {
		return commit
	}
	return ""
}

// keepRef says what a revision is.
func (f folder) keepRef(revision, commit string) error {
	if revision == commit || f.commit(revision) == commit {
		return nil
	}
	return durable.WriteFile(f.ref(revision), []byte(commit))
}

// keepAbsent says that a commit has no such file, so that others need not ask. They
// can without.
func (f folder) keepAbsent(commit, name string) {
	path := f.path(".no_exist", commit, filepath.FromSlash(name))
	if os.MkdirAll(filepath.Dir(path), 0o755) != nil {
		return
	}
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644); err == nil {
		f.Close()
	}
}

// tag marks a cache as one, for programs that make backups (bford.info/cachedir).
func (s Settings) tag() {
	path := filepath.Join(s.Cache, "CACHEDIR.TAG")
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err == nil {
		_, _ = f.WriteString("Signature: 8a477f597d28d172789f06886806bc55\n# Models that programs downloaded from the Hugging Face hub\n") // a cache without it works
		f.Close()
	}
}

// lockPause is how long is waited between looks at a lock of another.
const lockPause = 200 * time.Millisecond

// lock waits until nobody else downloads a content, and takes it.
func (c *client) lock(ctx context.Context, f folder, file File) (*durable.Lock, error) {
	path := filepath.Join(f.cache, ".locks", f.name, file.Hash+".lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for told := false; ; {
		lock, err := durable.TryLock(path)
		held := (*durable.Held)(nil)
		if !errors.As(err, &held) {
			return lock, err
		}
		if !told {
			c.listen(Waiting{File: file.Name, Owner: held.Owner.String()})
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockPause):
		}
	}
}

// holds reports whether a path has so many bytes of content; -1 is any number.
func holds(path string, size int64) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && (size < 0 || info.Size() == size)
}

// has reports whether a snapshot has a file, with the content it should have.
func (f folder) has(commit string, file File) bool {
	path := f.file(commit, file.Name)
	if !holds(path, file.Size) {
		return false
	}
	target, err := os.Readlink(path)
	return err != nil || file.Hash == "" || filepath.Base(target) == file.Hash
}

// link gives a content its name in a snapshot: a link, or the content itself where
// there are no links.
func (f folder) link(commit string, file File, noLinks, fresh bool) error {
	at, blob := f.file(commit, file.Name), f.blob(file.Hash)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !noLinks {
		target, err := filepath.Rel(filepath.Dir(at), blob)
		if err == nil {
			err = os.Symlink(target, at)
		}
		if err == nil || errors.Is(err, fs.ErrExist) && f.has(commit, file) {
			return nil
		}
	}
	if fresh { // of no other snapshot
		return os.Rename(blob, at)
	}
	return copyFile(at, blob)
}

// Found is a model in a cache.
type Found struct {
	Ref    Ref
	Commit string
	Path   string // the directory of a snapshot, or a GGUF file in it
	Whole  bool   // it has all its weights; of GGUF files there are others only
	Texts  bool   // it has a tokenizer
}

// caches are all that are looked into.
func (s Settings) caches() []string { return append([]string{s.Cache}, s.Others...) }

// Find looks for a model in the caches, without asking the hub. ok is false if there
// is none, or not all of its weights.
func (s Settings) Find(ref Ref) (found Found, ok bool) {
	for _, cache := range s.caches() {
		f := folder{cache, s.folder(ref.Repo).name}
		if commit := f.commit(ref.Revision); commit != "" {
			if found, ok := f.find(commit, ref.File); ok {
				found.Ref = ref
				return found, true
			}
		}
	}
	return s.findFlat(ref)
}

// find returns what a snapshot has to open. ok is false if that is not there or not
// whole.
func (f folder) find(commit, want string) (Found, bool) {
	dir := f.snapshot(commit)
	files := localFiles(dir)
	if want == "" && isDirectory(files) {
		return Found{Commit: commit, Path: dir, Whole: true, Texts: hasVocabulary(dir)}, wholeWeights(dir)
	}
	parts, _, err := chooseGGUF(files, want)
	if err != nil || slices.ContainsFunc(parts, func(p File) bool { return !holds(f.file(commit, p.Name), -1) }) {
		return Found{}, false
	}
	return Found{Commit: commit, Path: f.file(commit, parts[0].Name), Whole: true, Texts: true}, true
}

// findFlat looks where llama.cpp kept files before it used the hub's cache:
// ORG_NAME_FILE.gguf.
func (s Settings) findFlat(ref Ref) (Found, bool) {
	prefix := strings.ReplaceAll(ref.Repo, "/", "_") + "_"
	for _, dir := range s.Flat {
		var files []File
		for _, f := range localFiles(dir) {
			if rest, ok := strings.CutPrefix(f.Name, prefix); ok {
				files = append(files, File{Name: rest, Size: -1})
			}
		}
		if parts, _, err := chooseGGUF(files, ref.File); err == nil && ref.Revision == DefaultRevision {
			return Found{Ref: ref, Path: filepath.Join(dir, prefix+parts[0].Name), Whole: true, Texts: true}, true
		}
	}
	return Found{}, false
}

// All lists the models in the caches, those that are not whole as well.
func (s Settings) All() (all []Found) {
	for _, cache := range s.caches() {
		entries, _ := os.ReadDir(cache) // one that is not there has none
		for _, e := range entries {
			name, ok := strings.CutPrefix(e.Name(), repoPrefix)
			if ref, err := Parse(strings.ReplaceAll(name, "--", "/")); ok && err == nil && s.folder(ref.Repo).name == e.Name() {
				all = append(all, folder{cache, e.Name()}.all(ref.Repo)...)
			}
		}
	}
	return all
}

// all lists the models of a repository: one a snapshot, or one a GGUF file.
func (f folder) all(repo string) (all []Found) {
	names := map[string]string{} // of commits
	for _, r := range localFiles(f.path("refs")) {
		if commit := f.commit(r.Name); commit != "" && safeName(r.Name) && names[commit] != DefaultRevision {
			names[commit] = r.Name
		}
	}
	snapshots, _ := os.ReadDir(f.path("snapshots"))
	for _, e := range snapshots {
		if !commitForm.MatchString(e.Name()) {
			continue
		}
		ref, dir := Ref{Repo: repo, Revision: cmp.Or(names[e.Name()], e.Name())}, f.snapshot(e.Name())
		files := localFiles(dir)
		directory := isDirectory(files)
		groups := ggufs(files)
		if directory || len(groups) == 0 && len(files) > 0 {
			all = append(all, Found{Ref: ref, Commit: e.Name(), Path: dir, Whole: directory && wholeWeights(dir), Texts: hasVocabulary(dir)})
		}
		for i, name := range fileNames(groups) {
			g := groups[i]
			ref.File = name
			all = append(all, Found{Ref: ref, Commit: e.Name(), Path: f.file(e.Name(), g.parts[0].Name), Texts: true,
				Whole: len(g.parts) == g.count && !slices.ContainsFunc(g.parts, func(p File) bool { return !holds(f.file(e.Name(), p.Name), -1) })})
		}
	}
	return all
}

// hasVocabulary reports whether a directory has a tokenizer.
func hasVocabulary(dir string) bool {
	return slices.ContainsFunc(vocabularies, func(name string) bool { return holds(filepath.Join(dir, name), -1) })
}

// wholeWeights reports whether a directory has a model's weights, all of them.
func wholeWeights(dir string) bool {
	if holds(filepath.Join(dir, weightsName), -1) {
		return true
	}
	data, _, err := source.Read(filepath.Join(dir, indexName), maxIndex)
	if err != nil {
		return false
	}
	shards, err := parseIndex(data)
	return err == nil && !slices.ContainsFunc(shards, func(name string) bool { return !holds(filepath.Join(dir, name), -1) })
}

// localFiles lists a snapshot's files.
func localFiles(dir string) (files []File) {
	const deepest = 3
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error { // what cannot be read is not there
		rel, bad := filepath.Rel(dir, path)
		switch {
		case err != nil || bad != nil:
			return fs.SkipDir
		case e.IsDir() && strings.Count(rel, string(filepath.Separator)) >= deepest:
			return fs.SkipDir
		case !e.IsDir():
			files = append(files, File{Name: filepath.ToSlash(rel), Size: -1})
		}
		return nil
	})
	return files
}

// parseIndex lists the files that hold the weights.
func parseIndex(data []byte) ([]string, error) {
	var index struct {
		Weights map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("%s: %v", indexName, err)
	}
	var shards []string
	seen := map[string]bool{}
	for _, name := range index.Weights {
		if !safeName(name) {
			return nil, fmt.Errorf("%s: %w: a file %s", indexName, ErrHostile, source.Quote(name))
		}
		if !seen[name] {
			seen[name] = true
			shards = append(shards, name)
		}
	}
	if len(shards) == 0 {
		return nil, fmt.Errorf("%s: %w: it names no files", indexName, ErrNoWeights)
	}
	slices.Sort(shards)
	return shards, nil
}
