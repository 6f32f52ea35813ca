package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nibble/kernels/durable"
	"nibble/kernels/panics"
	"nibble/model/source"
)

// parallel is how many files come at a time.
const parallel = 4

// Event is anything a download reports while it runs.
type Event interface{ EventName() string }

// Listener receives events, of one goroutine at a time; it must not block. It may be
// nil.
type Listener func(Event)

// Started says what is downloaded, once that is known.
type Started struct {
	Repo   string `json:"repo"`
	Commit string `json:"commit"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`  // in all, of files whose size is known
	Needed int64  `json:"needed"` // that are not there yet
	To     string `json:"to"`
}

// Progress reports bytes that came, some times a second.
type Progress struct {
	File  string `json:"file"`
	Done  int64  `json:"done"` // bytes of all files that came now
	Total int64  `json:"total"`
}

// Retrying says that something failed and will be tried again.
type Retrying struct {
	What    string  `json:"what"`
	Why     string  `json:"why"`
	Seconds float64 `json:"seconds"` // until then
}

// Waiting says that another process downloads a file, which is waited for.
type Waiting struct {
	File  string `json:"file"`
	Owner string `json:"owner"`
}

// EventName implements Event.
func (Started) EventName() string { return "download_started" }

// EventName implements Event.
func (Progress) EventName() string { return "download_progress" }

// EventName implements Event.
func (Retrying) EventName() string { return "download_retrying" }

// EventName implements Event.
func (Waiting) EventName() string { return "download_waiting" }

// Result is what was downloaded.
type Result struct {
	Repo       string   `json:"repo"`
	Revision   string   `json:"revision"`
	Commit     string   `json:"commit"`
	Path       string   `json:"path"` // the directory of the snapshot, or a GGUF file in it
	Files      []string `json:"files"`
	SizeBytes  int64    `json:"size_bytes"`
	Downloaded int64    `json:"downloaded_bytes"` // now
	Seconds    float64  `json:"seconds"`
	Notes      []string `json:"notes"`
}

// pull is one download.
type pull struct {
	client *client
	ref    Ref
	folder folder
	commit string
	meter  *meter
	size   atomic.Int64 // of the files that are there
	res    Result
}

// Pull brings what nibble needs of a model into the cache. What is there already is
// not downloaded again; what was begun goes on.
func Pull(ctx context.Context, ref Ref, s Settings, listen Listener) (Result, error) {
	return newClient(s, listen).pull(ctx, ref)
}

func (c *client) pull(ctx context.Context, ref Ref) (Result, error) {
	if c.Offline {
		if found, ok := c.Find(ref); ok {
			return found.result(), nil
		}
		return Result{}, fmt.Errorf("%s: %w: HF_HUB_OFFLINE is set and %s does not have the model, or not all of it; unset it to download", ref, ErrOffline, c.Cache)
	}
	start := time.Now()
	p := &pull{client: c, ref: ref, folder: c.folder(ref.Repo), res: Result{Repo: ref.Repo, Revision: ref.Revision, Notes: []string{}}}
	var sending sync.Mutex
	listen := c.listen
	c.listen = func(e Event) {
		sending.Lock()
		defer sending.Unlock()
		listen(e)
	}
	p.meter = &meter{listen: c.listen}
	err := p.run(ctx)
	if err != nil {
		return Result{}, p.explain(err)
	}
	p.res.SizeBytes, p.res.Downloaded, p.res.Seconds = p.size.Load(), p.meter.came, time.Since(start).Seconds()
	return p.res, nil
}

// result is that of a download that was not needed.
func (f Found) result() Result {
	r := Result{Repo: f.Ref.Repo, Revision: f.Ref.Revision, Commit: f.Commit, Path: f.Path, Notes: []string{"the hub was not asked: HF_HUB_OFFLINE is set"}}
	dir, name := filepath.Split(f.Path)
	all := []File{{Name: name}}
	if info, err := os.Stat(f.Path); err == nil && info.IsDir() {
		dir, all = f.Path, localFiles(f.Path)
	}
	for _, file := range all {
		if info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(file.Name))); err == nil {
			r.Files, r.SizeBytes = append(r.Files, file.Name), r.SizeBytes+info.Size()
		}
	}
	return r
}

// explain says what the disk refused in words about the cache.
func (p *pull) explain(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; the cache must be writable: HF_HUB_CACHE or HF_HOME names another", err)
	}
	return err
}

func (p *pull) run(ctx context.Context) error {
	list, err := p.client.list(ctx, p.ref)
	if err != nil {
		return err
	}
	p.commit, p.res.Commit = list.commit, list.commit
	if err := os.MkdirAll(p.folder.snapshot(p.commit), 0o755); err != nil {
		return err
	}
	p.client.tag()
	if p.ref.File == "" && (isDirectory(list.files) || len(ggufs(list.files)) == 0) {
		err = p.directory(ctx, list.files)
	} else {
		err = p.gguf(ctx, list.files)
	}
	if err != nil {
		return err
	}
	return p.folder.keepRef(p.ref.Revision, p.commit)
}

// gguf downloads a GGUF file.
func (p *pull) gguf(ctx context.Context, files []File) error {
	parts, others, err := chooseGGUF(files, p.ref.File)
	if err != nil {
		return fmt.Errorf("%s: %w", p.ref, err)
	}
	if len(others) > 0 {
		p.res.Notes = append(p.res.Notes, fmt.Sprintf("of %s the file is %s; another is named after a colon", some(others, 30), parts[0].Name))
	}
	p.res.Path = p.folder.file(p.commit, parts[0].Name)
	return p.fetch(ctx, parts)
}

// directory downloads a model of safetensors files: first what is small, then what
// the index names.
func (p *pull) directory(ctx context.Context, files []File) error {
	first, err := chooseSmall(files)
	if err != nil {
		return fmt.Errorf("%s: %w", p.ref, err)
	}
	p.res.Path = p.folder.snapshot(p.commit)
	for _, name := range optional {
		if _, there := find(files, name); !there {
			p.folder.keepAbsent(p.commit, name)
		}
	}
	single, ok := find(files, weightsName)
	if ok {
		return p.fetch(ctx, first, single)
	}
	if err := p.fetch(ctx, first); err != nil {
		return err
	}
	data, _, err := source.Read(p.folder.file(p.commit, indexName), maxIndex)
	if err != nil {
		return err
	}
	shards, err := parseIndex(data)
	if err != nil {
		return fmt.Errorf("%s: %w", p.ref, err)
	}
	var weights []File
	for _, name := range shards {
		f, ok := find(files, name)
		if !ok {
			return fmt.Errorf("%s: %w: %s names %s, which the repository does not have", p.ref, ErrNoWeights, indexName, source.Quote(name))
		}
		weights = append(weights, f)
	}
	return p.fetch(ctx, weights)
}

// optional are the files that other programs ask for and often do not find.
var optional = []string{"generation_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "tokenizer.model", "adapter_config.json"}

// fetch brings files, those of the first list before the last.
func (p *pull) fetch(ctx context.Context, first []File, last ...File) error {
	need, total := int64(0), int64(0)
	for _, f := range slices.Concat(first, last) {
		if small(f.Name) && f.Size > maxSmall {
			return fmt.Errorf("%s: %w: a %s of %d MB", p.ref, ErrHostile, f.Name, f.Size/1e6)
		}
		total += max(0, f.Size)
		if !p.folder.has(p.commit, f) {
			_, _, have := begun(p.folder.blob(f.Hash), f)
			need += max(0, f.Size-have)
			p.meter.expect(f)
		}
		p.res.Files = append(p.res.Files, f.Name)
	}
	p.client.listen(Started{p.ref.Repo, p.commit, len(first) + len(last), total, need, p.folder.snapshot(p.commit)})
	if free := durable.FreeDisk(p.folder.path()); free >= 0 && need > free {
		return fmt.Errorf("%s: %w: %d MB are needed and %d MB are free in %s; free some, or name a cache on another disk with HF_HUB_CACHE", p.ref, ErrDisk, (need+1e6-1)/1e6, free/1e6, p.client.Cache)
	}
	for _, files := range [][]File{first, last} {
		if err := p.all(ctx, files); err != nil {
			return err
		}
	}
	return nil
}

// all brings some files, several at a time. The first failure ends it.
func (p *pull) all(ctx context.Context, files []File) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var workers []*panics.Goroutine
	for range min(parallel, len(files)) {
		workers = append(workers, panics.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(files) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := p.one(ctx, files[i]); err != nil {
					cancel(err)
				}
			}
		}))
	}
	for _, w := range workers {
		w.Wait()
	}
	return context.Cause(ctx)
}

// one brings a file into the snapshot.
func (p *pull) one(ctx context.Context, f File) (err error) {
	defer func() {
		if err == nil {
			if info, bad := os.Stat(p.folder.file(p.commit, f.Name)); bad == nil {
				p.size.Add(info.Size())
			}
		}
	}()
	if f.Hash != "" && p.folder.has(p.commit, f) {
		return nil
	}
	if f.Hash == "" || f.Size < 0 {
		if f, err = p.client.describe(ctx, p.ref, p.commit, f); err != nil || p.folder.has(p.commit, f) {
			return err
		}
	}
	lock, err := p.client.lock(ctx, p.folder, f)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	fresh := false
	if blob := p.folder.blob(f.Hash); !holds(blob, f.Size) { // another may have brought it
		if err := p.transfer(ctx, f, blob); err != nil {
			return err
		}
		fresh = true
	} else {
		p.meter.begin(f.Name, f.Size)
	}
	return p.folder.link(p.commit, f, p.client.NoLinks, fresh)
}
