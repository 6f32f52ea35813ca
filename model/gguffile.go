package model

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/model/gguf"
	"nibble/model/source"
	"nibble/model/tokenizer"
)

// ggufFiles are a GGUF file, or the parts of a split one, seen as the files of a
// directory: the small ones are made from the header.
type ggufFiles struct {
	*dirFiles
	names  []string          // of the parts
	made   map[string][]byte // config.json and so on
	header map[string]any    // of the first part

	vocab        *tokenizer.GGUF // nil if there is none
	tokenizerErr error           // why none was made of what the header says
}

// splitName is that of a part: number and count, both of five digits.
var splitName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// maxSplit bounds the parts of a file.
const maxSplit = 4096

// newGGUFFiles takes the path of a file, or of any of its parts.
func newGGUFFiles(path string) (files *ggufFiles, name string) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	files = &ggufFiles{dirFiles: &dirFiles{dir: dir, seen: make(map[string]seenFile)}, names: []string{base}, made: map[string][]byte{}}
	name = base[:len(base)-len(filepath.Ext(base))]
	if m := splitName.FindStringSubmatch(base); m != nil {
		name = m[1]
		if count, _ := strconv.Atoi(m[3]); count >= 1 && count <= maxSplit {
			files.names = nil
			for i := range count {
				files.names = append(files.names, fmt.Sprintf("%s-%05d-of-%05d.gguf", name, i+1, count))
			}
		}
	}
	return files, name
}

// isGGUF reports whether a path names a GGUF file, or what is one under another name,
// as in Ollama's store.
func isGGUF(path string) bool {
	if strings.EqualFold(filepath.Ext(path), ".gguf") {
		return true
	}
	f, err := source.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	return err == nil && string(magic[:]) == "GGUF"
}

func (f *ggufFiles) read(name string) ([]byte, error) {
	data, ok := f.made[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return data, nil
}

// path says what a small file is made of.
func (f *ggufFiles) path(name string) string {
	return fmt.Sprintf("%s (its keys as %s)", f.dirFiles.path(f.names[0]), name)
}

// openGGUF maps the parts, lists their tensors and makes the small files.
func (c *Checkpoint) openGGUF(f *ggufFiles) error {
	for i, name := range f.names {
		if err := c.openPart(f, i); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w: it is one of %d parts of the model; put all of them in one directory", f.dirFiles.path(name), ErrNotFound, len(f.names))
		} else if err != nil {
			return fmt.Errorf("%s: %w", f.dirFiles.path(name), err)
		}
	}
	if n, ok := f.header["split.tensors.count"].(int32); ok && len(f.names) > 1 && int(n) != len(c.tensors) {
		return fmt.Errorf("%s: %w: it says that there are %d tensors, and its %d parts have %d; download them again", f.dirFiles.path(f.names[0]), ErrCorrupt, n, len(f.names), len(c.tensors))
	}
	if len(c.tensors) == 0 {
		return fmt.Errorf("%s: %w: the file has no tensors, only a vocabulary", f.dirFiles.path(f.names[0]), ErrNotFound)
	}
	c.gguf = &arch.GGUF{Values: f.header, Count: len(c.tensors), Shape: c.ggufShape, Floats: c.ggufFloats}
	config, err := c.gguf.Config()
	if err != nil {
		return fmt.Errorf("%s: %w", f.dirFiles.path(f.names[0]), describeError(err))
	}
	f.made["config.json"] = config
	return c.makeTokenizer(f)
}

// openPart adds the tensors of a part.
func (c *Checkpoint) openPart(f *ggufFiles, part int) error {
	data, err := f.mapped(f.names[part])
	if err != nil {
		return err
	}
	file, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return ggufError(err)
	}
	values := make(map[string]any, len(file.KVs))
	for _, kv := range file.KVs {
		values[kv.Key] = kv.Value
	}
	if part == 0 {
		f.header = values
	}
	number, count := values["split.no"], values["split.count"]
	if n, ok := count.(uint16); ok && n > 0 && (int(n) != len(f.names) || number != uint16(part)) {
		return fmt.Errorf("%w: it says that it is part %v of %d, and its name that it is part %d of %d; give it its first name back",
			ErrCorrupt, number, n, part, len(f.names))
	}
	for _, t := range file.Tensors {
		if _, twice := c.tensors[t.Name]; twice {
			return fmt.Errorf("%w: tensor %s is in two parts", ErrCorrupt, source.Quote(t.Name))
		}
		shape := make([]int, len(t.Dims))
		for i, n := range t.Dims {
			shape[len(shape)-1-i] = int(n)
		}
		c.tensors[t.Name] = stored{dtype: t.Type.String(), shape: shape, data: data[t.Offset:][:t.Size:t.Size], ggml: t.Type}
	}
	return nil
}

// ggufError says a reader's errors in the words of this package.
func ggufError(err error) error {
	for from, to := range map[error]error{gguf.ErrCorrupt: ErrCorrupt, gguf.ErrTruncated: ErrTruncated, gguf.ErrUnsupported: ErrUnsupported, gguf.ErrLayout: ErrCorrupt} {
		if errors.Is(err, from) {
			return fmt.Errorf("%w: %w", to, err)
		}
	}
	return err
}

func (c *Checkpoint) ggufShape(tensor string) []int { return c.tensors[tensor].shape }

// maxSmall bounds the tensors that a config is made of: factors of rotations.
const maxSmall = 1 << 16

func (c *Checkpoint) ggufFloats(tensor string) []float32 {
	t, ok := c.tensors[tensor]
	if !ok || t.ggml != gguf.F32 || len(t.data) > maxSmall {
		return nil
	}
	out := make([]float32, len(t.data)/4)
	kernels.DecodeFloats(out, t.data, kernels.F32)
	return out
}
