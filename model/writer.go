package model

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"nibble/kernels"
)

// copiedFiles are carried from the source to a quantized checkpoint.
var copiedFiles = []string{"generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
	"added_tokens.json", "tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json", "LICENSE"}

// Layout is the plan of a quantized checkpoint's weights file: every tensor's
// place is known before the first is computed, so that matrices can be written
// in any order and the size is exact from the start.
type Layout struct {
	Header  []byte // safetensors header, length prefix included
	Size    int64  // whole file
	entries map[string]place
	schemes map[string]kernels.Scheme
}

type place struct {
	offset, size int64
}

// PlanLayout lays out src with the given modules quantized; everything else is
// kept as stored.
func PlanLayout(src *Checkpoint, schemes map[string]kernels.Scheme) (*Layout, error) {
	type entry struct {
		DType   string  `json:"dtype"`
		Shape   []int   `json:"shape"`
		Offsets []int64 `json:"data_offsets"`
	}
	l := &Layout{entries: make(map[string]place), schemes: schemes}
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	at := int64(0)
	add := func(name, dtype string, shape ...int) {
		size, _ := byteSize(shape, dtypeSizes[dtype])
		header[name] = entry{dtype, shape, []int64{at, at + size}}
		l.entries[name] = place{at, size}
		at += size
	}
	for _, m := range src.Config.Modules() {
		s, ok := schemes[m.Name]
		if !ok {
			if t, stored := src.tensors[m.Name+".weight"]; stored {
				add(m.Name+".weight", t.dtype, t.shape...)
			}
		} else {
			per, groups := 32/s.Bits, s.Groups(m.Cols)
			add(m.Name+".weight_packed", "I32", m.Rows, (m.Cols+per-1)/per)
			add(m.Name+".weight_scale", "F16", m.Rows, groups)
			if !s.Sym {
				add(m.Name+".weight_zero_point", "I32", (m.Rows+per-1)/per, groups)
			}
			add(m.Name+".weight_shape", "I64", 2)
		}
		if src.Config.HasBias(m.Kind) {
			t := src.tensors[m.Name+".bias"]
			add(m.Name+".bias", t.dtype, t.shape...)
		}
	}
	for _, name := range src.Config.Norms() {
		t := src.tensors[name]
		add(name, t.dtype, t.shape...)
	}
	body, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	for len(body)%8 != 0 { // data starts aligned
		body = append(body, ' ')
	}
	l.Header = append(binary.LittleEndian.AppendUint64(nil, uint64(len(body))), body...)
	l.Size = int64(len(l.Header)) + at
	return l, nil
}

// TensorBytes returns the size of all tensors, without the header.
func (l *Layout) TensorBytes() int64 { return l.Size - int64(len(l.Header)) }

// ModuleBytes returns what one module's matrix takes.
func (l *Layout) ModuleBytes(module string) int64 {
	n := int64(0)
	for _, suffix := range []string{".weight", ".weight_packed", ".weight_scale", ".weight_zero_point", ".weight_shape"} {
		n += l.entries[module+suffix].size
	}
	return n
}

// Writer writes a quantized checkpoint: a Hugging Face directory in
// compressed-tensors' pack-quantized form. Everything goes to a temporary
// directory beside the target, which takes the target's name in Commit; a
// failed or aborted writer leaves nothing. Put may be called concurrently.
type Writer struct {
	Layout *Layout
	dir    string // final
	tmp    string
	src    *Checkpoint
	file   *os.File
	mu     sync.Mutex
	put    map[string]bool
}

// CheckOutput reports whether dir can become an output directory: it must not
// exist or be empty, and its parent must be writable.
func CheckOutput(dir string) error {
	if dir == "" {
		return fmt.Errorf("%w: no output directory is given", ErrUnwritable)
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("%s: %w: give a new name or remove it first", dir, ErrNotEmpty)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w: %v", dir, ErrUnwritable, err)
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return fmt.Errorf("%s: %w: %v", dir, ErrUnwritable, err)
	}
	probe, err := os.MkdirTemp(parent, ".nibble-*")
	if err != nil {
		return fmt.Errorf("%s: %w: %v", dir, ErrUnwritable, err)
	}
	return os.Remove(probe)
}

// Create starts a writer for src with the given modules quantized.
func Create(dir string, src *Checkpoint, schemes map[string]kernels.Scheme) (*Writer, error) {
	if err := CheckOutput(dir); err != nil {
		return nil, err
	}
	layout, err := PlanLayout(src, schemes)
	if err != nil {
		return nil, err
	}
	dir = filepath.Clean(dir)
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".partial-*")
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", dir, ErrUnwritable, err)
	}
	w := &Writer{Layout: layout, dir: dir, tmp: tmp, src: src, put: make(map[string]bool)}
	if err := w.start(); err != nil {
		w.Abort()
		return nil, fmt.Errorf("%s: %w: %v", dir, ErrUnwritable, err)
	}
	return w, nil
}

func (w *Writer) start() error {
	if err := os.Chmod(w.tmp, 0o755); err != nil {
		return err
	}
	var err error
	if w.file, err = os.OpenFile(filepath.Join(w.tmp, "model.safetensors"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644); err != nil {
		return err
	}
	if err := w.file.Truncate(w.Layout.Size); err != nil {
		return err
	}
	_, err = w.file.WriteAt(w.Layout.Header, 0)
	return err
}

func (w *Writer) writeAt(name string, data []byte) error {
	p, ok := w.Layout.entries[name]
	if !ok || p.size != int64(len(data)) {
		return fmt.Errorf("tensor %s: %d bytes do not fit the planned layout", name, len(data))
	}
	if _, err := w.file.WriteAt(data, int64(len(w.Layout.Header))+p.offset); err != nil {
		return fmt.Errorf("%s: %w: %v", w.dir, ErrUnwritable, err)
	}
	w.mu.Lock()
	w.put[name] = true
	w.mu.Unlock()
	return nil
}

// PutQ writes a quantized matrix.
func (w *Writer) PutQ(module string, q *kernels.QTensor) error {
	if err := q.Validate(); err != nil {
		return fmt.Errorf("%s: %w", module, err)
	}
	if s, ok := w.Layout.schemes[module]; !ok || s != q.Scheme {
		return fmt.Errorf("%s: %s was not planned", module, q.Scheme)
	}
	if err := w.writeAt(module+".weight_packed", q.Codes); err != nil {
		return err
	}
	scales := make([]byte, 2*len(q.Scales))
	for i, s := range q.Scales {
		binary.LittleEndian.PutUint16(scales[2*i:], s)
	}
	if err := w.writeAt(module+".weight_scale", scales); err != nil {
		return err
	}
	if !q.Scheme.Sym {
		if err := w.writeAt(module+".weight_zero_point", packZeros(q.Zeros, q.Rows, q.Groups(), q.Scheme.Bits)); err != nil {
			return err
		}
	}
	shape := binary.LittleEndian.AppendUint64(nil, uint64(q.Rows))
	return w.writeAt(module+".weight_shape", binary.LittleEndian.AppendUint64(shape, uint64(q.Cols)))
}

// PutFloats writes other values of a tensor that is kept, in its stored type.
func (w *Writer) PutFloats(name string, v []float32) error {
	t, err := w.src.Tensor(name)
	if err != nil {
		return err
	}
	for _, x := range v {
		if math.Float32bits(x)&0x7f800000 == 0x7f800000 {
			return fmt.Errorf("tensor %s: %w", name, ErrNotFinite)
		}
	}
	data := make([]byte, len(v)*t.DType.Size())
	kernels.EncodeFloats(data, v, t.DType)
	return w.writeAt(name, data)
}

// PutFile adds a small file such as recipe.json.
func (w *Writer) PutFile(name string, data []byte) error {
	if !filepath.IsLocal(name) || filepath.Base(name) != name {
		return fmt.Errorf("file name %q leaves the output directory", name)
	}
	f, err := os.OpenFile(filepath.Join(w.tmp, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("%s: %w: %v", w.dir, ErrUnwritable, err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w: %v", w.dir, ErrUnwritable, err)
	}
	return nil
}

// Commit copies what is kept from the source, makes everything durable and
// gives the directory its name.
func (w *Writer) Commit() error {
	for name := range w.Layout.entries {
		if w.put[name] {
			continue
		}
		t, ok := w.src.tensors[name]
		if !ok {
			return fmt.Errorf("tensor %s was planned but never written", name)
		}
		if err := w.writeAt(name, t.data); err != nil {
			return err
		}
		w.src.Release(name)
	}
	config, err := w.config()
	if err != nil {
		return err
	}
	if err := w.PutFile("config.json", config); err != nil {
		return err
	}
	for _, name := range copiedFiles {
		data, err := w.src.files.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := w.PutFile(name, data); err != nil {
			return err
		}
	}
	if err := errors.Join(w.file.Sync(), w.file.Close()); err != nil {
		return fmt.Errorf("%s: %w: %v", w.dir, ErrUnwritable, err)
	}
	w.file = nil
	if err := SyncDir(w.tmp); err != nil {
		return err
	}
	os.Remove(w.dir) // an empty directory gives way; anything else makes the rename fail
	if err := os.Rename(w.tmp, w.dir); err != nil {
		return fmt.Errorf("%s: %w: %v", w.dir, ErrUnwritable, err)
	}
	w.tmp = ""
	return SyncDir(filepath.Dir(w.dir))
}

// CopiedBytes is the size of the small files that a quantized checkpoint takes
// over from its source.
func (c *Checkpoint) CopiedBytes() int64 {
	n := int64(len(c.Config.Raw))
	for _, name := range copiedFiles {
		if data, err := c.files.read(name); err == nil {
			n += int64(len(data))
		}
	}
	return n
}

// config is the source's config.json with the quantization described.
func (w *Writer) config() ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(w.src.Config.Raw, &fields); err != nil {
		return nil, err
	}
	delete(fields, "quantization_config")
	if len(w.Layout.schemes) > 0 {
		qc, err := json.Marshal(newQuantConfig(w.src.Config.Modules(), w.Layout.schemes))
		if err != nil {
			return nil, err
		}
		fields["quantization_config"] = qc
	}
	return json.MarshalIndent(fields, "", "  ")
}

// Abort removes everything written so far. After Commit it does nothing.
func (w *Writer) Abort() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
	if w.tmp != "" {
		os.RemoveAll(w.tmp)
		w.tmp = ""
	}
}

// SyncDir makes the names in a directory durable, where the file system can.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !slices.Contains([]error{fs.ErrInvalid}, err) {
		return fmt.Errorf("%s: %w: %v", dir, ErrUnwritable, err)
	}
	return nil
}
