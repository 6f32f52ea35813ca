package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"nibble/kernels/panics"
	"nibble/model"
	"nibble/model/gguf"
	"nibble/model/hub"
	"nibble/model/source"
)

// Entry is a model on this machine.
type Entry struct {
	Ref       string `json:"ref"`   // what Open takes
	Store     string `json:"store"` // "hub", "ollama", "lmstudio", "llama.cpp", "directory", or what List was given
	Path      string `json:"path"`
	Arch      string `json:"arch"`   // "" if that cannot be told
	Format    string `json:"format"` // "safetensors", "gguf", a method of quantization, or what nibble does not read
	DType     string `json:"dtype"`  // what the weights are stored as
	Params    int64  `json:"params"` // 0 if it cannot be opened
	SizeBytes int64  `json:"size_bytes"`
	Opens     bool   `json:"opens"`
	Reason    string `json:"reason"` // why not
}

// candidate is what may be a model.
type candidate struct {
	ref, store, path string
	err              error // that is known already
}

// Dir is a directory that may hold models, and what they are listed as.
type Dir struct {
	Path  string
	Store string
}

// List lists the models in the stores and in directories, in the order of their
// stores and names. It looks at headers, no more.
func List(ctx context.Context, dirs ...Dir) ([]Entry, error) {
	all := slices.Concat(listHub(), listOllama(), listLMStudio(), listFlat())
	for _, d := range dirs {
		for _, c := range listDirectory(d.Path) {
			c.store = cmp.Or(d.Store, "directory")
			all = append(all, c)
		}
	}
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(c candidate) bool {
		twice := seen[c.ref]
		seen[c.ref] = true
		return twice
	})
	entries := make([]Entry, len(all))
	var next atomic.Int64
	var workers []*panics.Goroutine
	for range min(2, len(all)) {
		workers = append(workers, panics.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(all) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				entries[i] = all[i].entry()
			}
		}))
	}
	for _, w := range workers {
		w.Wait()
	}
	return entries, context.Cause(ctx)
}

// listHub lists what is in the hub's cache.
func listHub() (all []candidate) {
	s, _ := hub.FromEnv() // which names caches whatever else is wrong
	for _, f := range s.All() {
		c := candidate{ref: f.Ref.String(), store: "hub", path: f.Path}
		if !f.Whole {
			c.err = errNotWhole(f)
		}
		all = append(all, c)
	}
	return all
}

// listFlat lists what llama.cpp downloaded before it used the hub's cache.
func listFlat() (all []candidate) {
	s, _ := hub.FromEnv() // which names directories whatever else is wrong
	for _, dir := range s.Flat {
		files, _ := os.ReadDir(dir)
		for _, c := range ggufsOf(dir, files) {
			c.store = "llama.cpp"
			all = append(all, c)
		}
	}
	return all
}

// deepest is how far below a directory models are looked for.
const deepest = 4

// listDirectory lists the models in a directory and below.
func listDirectory(root string) (all []candidate) {
	var look func(dir string, depth int)
	look = func(dir string, depth int) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return
		}
		if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "config.json" }) && slices.ContainsFunc(entries, isWeights) {
			all = append(all, candidate{ref: dir, path: dir})
		}
		all = append(all, ggufsOf(dir, entries)...)
		for _, e := range entries {
			if depth < deepest && e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
				look(filepath.Join(dir, e.Name()), depth+1)
			}
		}
	}
	if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	if info, err := os.Stat(root); err == nil && info.Mode().IsRegular() {
		return []candidate{{ref: root, path: root}}
	}
	look(root, 0)
	return all
}

// weightsExts are the names of files with weights, those that nibble does not read
// among them.
var weightsExts = []string{".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx"}

func isWeights(e fs.DirEntry) bool { return slices.Contains(weightsExts, filepath.Ext(e.Name())) }

var laterPart = regexp.MustCompile(`-(\d{5})-of-\d{5}\.gguf$`)

// ggufsOf lists a directory's GGUF files, of a split one the first part.
func ggufsOf(dir string, entries []fs.DirEntry) (all []candidate) {
	for _, e := range entries {
		m := laterPart.FindStringSubmatch(e.Name())
		if e.IsDir() || !strings.EqualFold(filepath.Ext(e.Name()), ".gguf") || strings.HasPrefix(e.Name(), "mmproj") || m != nil && m[1] != "00001" {
			continue
		}
		path := filepath.Join(dir, e.Name())
		all = append(all, candidate{ref: path, path: path})
	}
	return all
}

// walk calls f with the files below a directory and how deep they lie; those directly
// in it are at 1.
func walk(root string, most int, f func(path string, depth int)) {
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error { // what cannot be read is left out
		rel, bad := filepath.Rel(root, path)
		if err != nil || bad != nil {
			return fs.SkipDir
		}
		depth := strings.Count(rel, string(filepath.Separator)) + 1
		switch {
		case e.IsDir() && rel != "." && depth >= most:
			return fs.SkipDir
		case !e.IsDir():
			f(path, depth)
		}
		return nil
	})
}

// entry looks at a candidate.
func (c candidate) entry() Entry {
	e := Entry{Ref: c.ref, Store: c.store, Path: c.path, Format: "gguf"}
	files, dir := weightsOf(c.path)
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			e.SizeBytes += info.Size()
		}
	}
	if dir {
		e.Arch, e.Format = lookAtConfig(c.path, files)
	}
	ck, err := (*model.Checkpoint)(nil), c.err
	if dir && err == nil && len(files) > 0 && filepath.Ext(files[0]) != weightsExts[0] {
		err = fmt.Errorf("%w, only as %s", model.ErrNoWeights, filepath.Ext(files[0]))
	}
	if err == nil {
		ck, err = model.Look(c.path)
	}
	if err != nil {
		e.Reason = strings.TrimPrefix(strings.TrimPrefix(err.Error(), c.path+": "), c.path+string(filepath.Separator))
		if !dir {
			e.Arch = lookAtGGUF(c.path)
		}
		return e
	}
	defer ck.Close()
	e.Opens, e.Arch, e.DType, e.Params = true, ck.Config.Arch, ck.DType(), ck.Params()
	return e
}

// weightsOf lists the files of a model's weights; dir is whether it is a directory.
func weightsOf(path string) (files []string, dir bool) {
	if entries, err := os.ReadDir(path); err == nil {
		for _, ext := range weightsExts { // of several kinds, the first
			for _, e := range entries {
				if filepath.Ext(e.Name()) == ext && !e.IsDir() {
					files = append(files, filepath.Join(path, e.Name()))
				}
			}
			if len(files) > 0 {
				break
			}
		}
		return files, true
	}
	if m := laterPart.FindStringSubmatchIndex(path); m != nil {
		files, _ := filepath.Glob(globQuote(path[:m[0]]) + "-[0-9][0-9][0-9][0-9][0-9]" + globQuote(path[m[3]:]))
		return files, false
	}
	return []string{path}, false
}

// globQuote is a text for filepath.Glob that means itself.
func globQuote(s string) string {
	return regexp.MustCompile(`[\\*?\[]`).ReplaceAllString(s, "[$0]")
}

// lookAtConfig says what a directory's config.json says, whether nibble knows it or
// not.
func lookAtConfig(dir string, weights []string) (arch, format string) {
	format = "none"
	if len(weights) > 0 {
		format = strings.TrimPrefix(filepath.Ext(weights[0]), ".")
	}
	data, _, err := source.Read(filepath.Join(dir, "config.json"), 4<<20)
	var c struct {
		Kind          string   `json:"model_type"`
		Architectures []string `json:"architectures"`
		Quantization  struct {
			Method string `json:"quant_method"`
		} `json:"quantization_config"`
		MLX *struct{} `json:"quantization"`
	}
	if err != nil || json.Unmarshal(data, &c) != nil {
		return "", format
	}
	if arch = c.Kind; len(c.Architectures) > 0 {
		arch = c.Architectures[0]
	}
	switch {
	case format != "safetensors":
	case c.Quantization.Method != "":
		format = c.Quantization.Method
	case c.MLX != nil:
		format = "mlx"
	}
	return arch, format
}

// lookAtGGUF says what architecture a file names, whether nibble knows it or not.
func lookAtGGUF(path string) string {
	f, err := source.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	file, err := gguf.Read(f, info.Size())
	if err != nil {
		return ""
	}
	v, _ := file.Value("general.architecture")
	arch, _ := v.(string)
	return arch
}

func errNotWhole(f hub.Found) error {
	return errors.New("it is not whole: 'nibble pull " + f.Ref.String() + "' brings the rest")
}
