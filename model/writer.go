package model

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"nibble/kernels"
	"nibble/kernels/durable"
	"nibble/model/output"
)

// copiedFiles are carried from the source to a quantized checkpoint.
var copiedFiles = []string{"generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
	"added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json", "LICENSE"}

// Layout is the plan of a quantized checkpoint's weights file: every tensor's
// place is known before the first is computed, so that matrices can be written
// in any order and the size is exact from the start.
type Layout struct {
	Header  []byte // safetensors header, length prefix included
	Size    int64  // whole file
	entries map[string]place
	schemes map[string]kernels.Scheme
	carried []Module // whose codes are the source's
	packing Packing
	decoded map[string]kernels.DType // tensors that are codes in the source and floats here
}

type place struct {
	offset, size int64
}

// PlanLayout lays out src with the given modules quantized; everything else is
// kept: codes that the source has of other modules, and floats as stored.
func PlanLayout(src *Checkpoint, schemes map[string]kernels.Scheme) (*Layout, error) {
	return planLayout(src, schemes, packQuantized, nil)
}

// PlanExport lays out src with its own codes in a packing, but for some modules, whose
// floats are rounded to a type. What the packing has no place for is an error.
func PlanExport(src *Checkpoint, p Packing, floats map[string]kernels.DType) (*Layout, error) {
	for _, m := range src.Config.modules {
		s, coded := src.Scheme(m)
		if _, float := floats[m.Name]; coded && !float {
			if err := p.Check(m, s); err != nil {
				return nil, err
			}
		}
	}
	return planLayout(src, nil, p, floats)
}

func planLayout(src *Checkpoint, schemes map[string]kernels.Scheme, packing Packing, floats map[string]kernels.DType) (*Layout, error) {
	type entry struct {
		DType   string  `json:"dtype"`
		Shape   []int   `json:"shape"`
		Offsets []int64 `json:"data_offsets"`
	}
	l := &Layout{entries: make(map[string]place), schemes: make(map[string]kernels.Scheme), packing: packing, decoded: make(map[string]kernels.DType)}
	maps.Copy(l.schemes, schemes)
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	at := int64(0)
	add := func(name, dtype string, shape ...int) {
		size, _ := byteSize(shape, dtypeSizes[dtype])
		header[name] = entry{dtype, shape, []int64{at, at + size}}
		l.entries[name] = place{at, size}
		at += size
	}
	kept := func(d Described) error {
		module := strings.TrimSuffix(d.Name, ".weight")
		_, coded := src.codes[module]
		if as, ok := floats[module]; ok || coded && src.sources == nil {
			l.decoded[d.Name] = as // F32 unless told otherwise
			add(d.Name, as.String(), d.Shape...)
			return nil
		}
		if src.sources != nil { // as a directory has it
			form, err := src.ggufForm(d)
			shape := slices.Clone(d.Shape)
			if d.View.Transposed {
				slices.Reverse(shape)
			}
			add(d.Name, form.dtype.String(), shape...)
			return err
		}
		name, t := d.Name, src.tensors[d.View.Tensor]
		if d.View.Expert < 0 { // as it is stored
			if _, twice := l.entries[d.View.Tensor]; !twice {
				add(d.View.Tensor, t.dtype, t.shape...)
			}
			return nil
		}
		part, err := src.Tensor(name)
		if err == nil {
			add(name, part.DType.String(), part.Shape...)
		}
		return err
	}
	for _, m := range src.Config.modules {
		s, ok := schemes[m.Name]
		if !ok {
			s, ok = src.Scheme(m)
			if _, float := floats[m.Name]; ok && !float && !s.Mins && !s.Super {
				l.schemes[m.Name], l.carried = s, append(l.carried, m)
			} else {
				ok = false
			}
		}
		if !ok {
			if err := kept(weightOf(m.Linear)); err != nil {
				return nil, err
			}
			continue
		}
		for _, t := range packing.tensors(m.Rows, m.Cols, s) {
			add(m.Name+t.suffix, t.dtype, t.shape...)
		}
	}
	for _, d := range src.Config.Floats() {
		if err := kept(d); err != nil {
			return nil, err
		}
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

// quantSuffixes end the names of the tensors that a quantized matrix may be stored as.
var quantSuffixes = []string{".weight_packed", ".weight_scale", ".weight_zero_point", topPacked, topRows, ".weight_shape"}

// ModuleBytes returns what one module's matrix takes.
func (l *Layout) ModuleBytes(module string) int64 {
	n := int64(0)
	for _, suffix := range slices.Concat([]string{".weight"}, quantSuffixes) {
		n += l.entries[module+suffix].size
	}
	return n
}

// Writer writes a quantized checkpoint: a Hugging Face directory in
// compressed-tensors' pack-quantized form. Everything goes to the work directory of
// a claim until Commit gives it the output's name; an aborted writer leaves
// nothing. After Keep, or when the process dies, another writer of the same
// output finds what was written there. Put may be called concurrently.
type Writer struct {
	Layout *Layout
	at     *output.Claim
	src    *Checkpoint
	file   *os.File // nil after the end
	mu     sync.Mutex
	put    map[string]uint32 // checksums of what is written, by tensor

	// Verify looks at the directory when all is written, before it takes its name.
	Verify func(dir string) error
}

// outputName is the part of a work directory that becomes the output; what else is
// there, such as a journal, does not.
const outputName = "output"

func (w *Writer) output() string { return filepath.Join(w.at.Work(), outputName) }

// Create starts a writer for src with the given modules quantized. The claim stays
// the caller's to release, after the writer's end.
func Create(at *output.Claim, src *Checkpoint, schemes map[string]kernels.Scheme) (*Writer, error) {
	layout, err := PlanLayout(src, schemes)
	if err != nil {
		return nil, err
	}
	return CreateAs(at, src, layout)
}

// CreateAs starts a writer for a layout of src.
func CreateAs(at *output.Claim, src *Checkpoint, layout *Layout) (*Writer, error) {
	if err := src.copied(func(string, []byte) error { return nil }); err != nil {
		return nil, err // now, not after the work
	}
	w := &Writer{Layout: layout, at: at, src: src, put: make(map[string]uint32)}
	if err := os.MkdirAll(w.output(), 0o755); err != nil {
		return nil, fmt.Errorf("%s: %w: %v", at.Path, output.ErrUnwritable, err)
	}
	if err := w.start(); err != nil {
		w.Abort()
		return nil, fmt.Errorf("%s: %w: %v", at.Path, output.ErrUnwritable, err)
	}
	return w, nil
}

// start makes the weights file, unless the one of an earlier writer will do.
func (w *Writer) start() error {
	var err error
	if w.file, err = os.OpenFile(filepath.Join(w.output(), "model.safetensors"), os.O_CREATE|os.O_RDWR, 0o644); err != nil {
		return err
	}
	header := make([]byte, len(w.Layout.Header))
	if info, err := w.file.Stat(); err == nil && info.Size() == w.Layout.Size {
		if _, err := w.file.ReadAt(header, 0); err == nil && bytes.Equal(header, w.Layout.Header) {
			return nil
		}
	}
	if err := errors.Join(w.file.Truncate(0), w.file.Truncate(w.Layout.Size)); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(w.Layout.Header, 0); err != nil {
		return err
	}
	return errors.Join(durable.SyncDir(w.output()), durable.SyncDir(w.at.Work()), durable.SyncDir(filepath.Dir(w.at.Work())))
}

func (w *Writer) writeAt(name string, data []byte) error {
	p, ok := w.Layout.entries[name]
	if !ok || p.size != int64(len(data)) {
		return fmt.Errorf("tensor %s: %d bytes do not fit the planned layout", name, len(data))
	}
	sum := crc32.Checksum(data, castagnoli) // first: of a source that was cut, writing would only say "bad address"
	if _, err := w.file.WriteAt(data, int64(len(w.Layout.Header))+p.offset); err != nil {
		return fmt.Errorf("%s: %w: %v", w.at.Path, output.ErrUnwritable, err)
	}
	w.mu.Lock()
	w.put[name] = sum
	w.mu.Unlock()
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sums returns the checksums (CRC-32C) of the tensors that a quantized matrix or
// a tensor kept as floats was written as.
func (w *Writer) Sums(name string) map[string]uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	sums := make(map[string]uint32)
	for _, tensor := range w.Layout.parts(name) {
		if sum, ok := w.put[tensor]; ok {
			sums[tensor] = sum
		}
	}
	return sums
}

// Reuse takes over what an earlier writer wrote of a matrix or tensor, and
// reports whether that is all there with the checksums it had.
func (w *Writer) Reuse(name string, sums map[string]uint32) bool {
	parts := w.Layout.parts(name)
	if len(parts) == 0 || len(parts) != len(sums) {
		return false
	}
	for _, tensor := range parts {
		data, err := w.read(tensor)
		if sum, ok := sums[tensor]; !ok || err != nil || crc32.Checksum(data, castagnoli) != sum {
			return false
		}
	}
	w.mu.Lock()
	maps.Copy(w.put, sums)
	w.mu.Unlock()
	return true
}

// Copy takes all tensors from a directory that a writer made of the same source
// with the same modules quantized.
func (w *Writer) Copy(dir string) error {
	f, err := os.Open(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	defer f.Close()
	header := make([]byte, len(w.Layout.Header))
	if _, err := io.ReadFull(f, header); err != nil || !bytes.Equal(header, w.Layout.Header) {
		return fmt.Errorf("%w: the tensors of %s are not those of %s", ErrCorrupt, dir, w.at.Path)
	}
	for name, p := range w.Layout.entries {
		data := make([]byte, p.size)
		if _, err := f.ReadAt(data, int64(len(header))+p.offset); err != nil {
			return fmt.Errorf("%s: tensor %s: %w", f.Name(), name, err)
		}
		if err := w.writeAt(name, data); err != nil {
			return err
		}
	}
	return nil
}

// parts lists the tensors of a quantized matrix, or the tensor of that name.
func (l *Layout) parts(name string) []string {
	if _, ok := l.entries[name]; ok {
		return []string{name}
	}
	var out []string
	for _, suffix := range quantSuffixes {
		if _, ok := l.entries[name+suffix]; ok {
			out = append(out, name+suffix)
		}
	}
	return out
}

// read returns the bytes of a tensor in the file.
func (w *Writer) read(tensor string) ([]byte, error) {
	p, ok := w.Layout.entries[tensor]
	if !ok {
		return nil, fmt.Errorf("tensor %s: %w", tensor, ErrNotFound)
	}
	data := make([]byte, p.size)
	_, err := w.file.ReadAt(data, int64(len(w.Layout.Header))+p.offset)
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %s: %w", w.file.Name(), tensor, err)
	}
	return data, nil
}

// Q reads a quantized matrix back.
func (w *Writer) Q(m Module) (*kernels.QTensor, error) {
	q := &kernels.QTensor{Rows: m.Rows, Cols: m.Cols, Scheme: w.Layout.schemes[m.Name]}
	var err error
	if q.Codes, err = w.read(m.Name + ".weight_packed"); err != nil {
		return nil, err
	}
	scales, err := w.read(m.Name + ".weight_scale")
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(scales); i += 2 {
		q.Scales = append(q.Scales, binary.LittleEndian.Uint16(scales[i:]))
	}
	if !q.Scheme.Sym {
		zeros, err := w.read(m.Name + ".weight_zero_point")
		if err != nil {
			return nil, err
		}
		q.Zeros = unpackZeros(zeros, q.Rows, q.Groups(), q.Scheme.Bits)
	}
	if q.Scheme.Top > 0 {
		if q.TopCodes, err = w.read(m.Name + topPacked); err != nil {
			return nil, err
		}
		rows, err := w.read(m.Name + topRows)
		if err != nil {
			return nil, err
		}
		q.TopRows = unpackRows(rows)
	}
	return q, q.Validate()
}

// Floats reads a tensor that is kept as floats back.
func (w *Writer) Floats(name string) ([]float32, error) {
	t, err := w.src.Tensor(name)
	if err != nil {
		return nil, err
	}
	if t.Data, err = w.read(name); err != nil {
		return nil, err
	}
	if w.src.described[name].View.Transposed {
		return transposed(t.Floats(), t.Shape[1], t.Shape[0]), nil
	}
	return t.Floats(), nil
}

// Sync makes what is written durable.
func (w *Writer) Sync() error {
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("%s: %w: %v", w.at.Path, output.ErrUnwritable, err)
	}
	return nil
}

// Work returns the work directory, for what must survive with the tensors.
func (w *Writer) Work() string { return w.at.Work() }

// PutQ writes a quantized matrix.
func (w *Writer) PutQ(module string, q *kernels.QTensor) error {
	if err := q.Validate(); err != nil {
		return fmt.Errorf("%s: %w", module, err)
	}
	if s, ok := w.Layout.schemes[module]; !ok || s != q.Scheme {
		return fmt.Errorf("%s: %s was not planned", module, q.Scheme)
	}
	for _, t := range w.Layout.packing.tensors(q.Rows, q.Cols, q.Scheme) {
		if err := w.writeAt(module+t.suffix, t.data(q)); err != nil {
			return err
		}
	}
	return nil
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
	if w.src.described[name].View.Transposed {
		v = transposed(v, t.Shape[0], t.Shape[1])
	}
	kernels.EncodeFloats(data, v, t.DType)
	if t.Data = data; firstNotFinite(t) >= 0 {
		return fmt.Errorf("tensor %s: %w: %s does not hold %g", name, ErrUnsupported, t.DType, v[firstNotFinite(t)])
	}
	return w.writeAt(name, data)
}

// transposed turns a matrix of rows x cols.
func transposed(v []float32, rows, cols int) []float32 {
	out := make([]float32, len(v))
	for r := range rows {
		for c := range cols {
			out[c*rows+r] = v[r*cols+c]
		}
	}
	return out
}

// PutFile adds a small file such as recipe.json.
func (w *Writer) PutFile(name string, data []byte) error {
	if !filepath.IsLocal(name) || filepath.Base(name) != name {
		return fmt.Errorf("file name %q leaves the output directory", name)
	}
	f, err := os.OpenFile(filepath.Join(w.output(), name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("%s: %w: %v", w.at.Path, output.ErrUnwritable, err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w: %v", w.at.Path, output.ErrUnwritable, err)
	}
	return nil
}

// Complete copies the tensors that are kept from the source: every tensor is written
// then.
func (w *Writer) Complete() error {
	for _, m := range w.Layout.carried {
		q, err := w.src.Weight(m)
		if err == nil {
			err = w.PutQ(m.Name, q.Q)
		}
		if err != nil {
			return err
		}
		w.src.ReleaseWeight(m)
	}
	for name := range w.Layout.entries {
		if _, ok := w.put[name]; ok {
			continue
		}
		data := w.src.tensors[name].data
		if as, ok := w.Layout.decoded[name]; ok {
			t, err := w.src.Tensor(name)
			if err != nil {
				return err
			}
			data = make([]byte, t.Len()*as.Size())
			kernels.EncodeFloats(data, t.Floats(), as)
			if i := firstNotFinite(Tensor{DType: as, Data: data}); i >= 0 {
				return fmt.Errorf("tensor %s: %w: element %d as %s", name, ErrNotFinite, i, as)
			}
		} else if d, ok := w.src.described[name]; ok && (d.View.Expert >= 0 || w.src.sources != nil) {
			t, err := w.src.Tensor(name)
			if err != nil {
				return err
			}
			if data = t.Data; d.View.Transposed {
				data = make([]byte, len(t.Data))
				kernels.EncodeFloats(data, transposed(t.Floats(), t.Shape[0], t.Shape[1]), t.DType)
			}
		}
		if data == nil {
			return fmt.Errorf("tensor %s was planned but never written", name)
		}
		if err := w.writeAt(name, data); err != nil {
			return err
		}
		w.src.Release(name)
	}
	return nil
}

// Checksum is what Checkpoint.Checksum will be of the output.
func (w *Writer) Checksum() string { return checksum(w.put) }

// Checksum is over the names and bytes of all tensors, against damage.
func (c *Checkpoint) Checksum() string {
	sums := make(map[string]uint32, len(c.tensors))
	for name, t := range c.tensors {
		sums[name] = crc32.Checksum(t.data, castagnoli)
		c.Release(name)
	}
	return checksum(sums)
}

func checksum(sums map[string]uint32) string {
	h := crc32.New(castagnoli)
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(h, "%s %08x\n", name, sums[name])
	}
	return fmt.Sprintf("%08x", h.Sum32())
}

// Commit completes the output, makes everything durable and gives the directory its
// name, unless the source has changed since it was opened.
func (w *Writer) Commit() error {
	if err := w.Complete(); err != nil {
		return err
	}
	config, err := w.config()
	if err != nil {
		return err
	}
	if err := w.PutFile("config.json", config); err != nil {
		return err
	}
	if err := w.src.copied(w.PutFile); err != nil {
		return err
	}
	if err := errors.Join(w.file.Sync(), w.file.Close()); err != nil {
		return fmt.Errorf("%s: %w: %v", w.at.Path, output.ErrUnwritable, err)
	}
	w.file = nil
	if err := durable.SyncDir(w.output()); err != nil {
		return fmt.Errorf("%s: %w: %v", w.at.Path, output.ErrUnwritable, err)
	}
	if w.Verify != nil {
		if err := w.Verify(w.output()); err != nil {
			return err
		}
	}
	if err := w.src.Unchanged(); err != nil {
		return err
	}
	if err := w.at.Publish(outputName); err != nil {
		return err
	}
	w.Abort() // what is left of the work directory
	return nil
}

// copied hands over the small files that a quantized checkpoint takes over.
func (c *Checkpoint) copied(put func(name string, data []byte) error) error {
	for _, name := range slices.Concat(copiedFiles, c.tokenizerFiles()) {
		data, err := c.files.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := put(name, data); err != nil {
			return err
		}
	}
	return nil
}

// CopiedBytes is the size of the small files that a quantized checkpoint takes
// over from its source.
func (c *Checkpoint) CopiedBytes() int64 {
	n := int64(len(c.Config.Raw))
	_ = c.copied(func(_ string, data []byte) error { // what cannot be read, Create refuses
		n += int64(len(data))
		return nil
	})
	return n
}

// config is the source's config.json with the quantization described.
func (w *Writer) config() ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(w.src.Config.Raw, &fields); err != nil {
		return nil, err
	}
	delete(fields, "quantization_config")
	delete(fields, "compression_config")
	delete(fields, "quantization") // MLX's name of it
	var said struct {
		Tie bool `json:"tie_word_embeddings"`
	}
	if tied := w.src.Config.Tied; json.Unmarshal(w.src.Config.Raw, &said) != nil || said.Tie != tied {
		fields["tie_word_embeddings"] = json.RawMessage(strconv.FormatBool(tied)) // as it is stored
	}
	if len(w.Layout.schemes) > 0 {
		qc, err := json.Marshal(w.Layout.packing.config(w.src.Config.Modules(), w.Layout.schemes))
		if err != nil {
			return nil, err
		}
		fields["quantization_config"] = qc
	}
	return json.MarshalIndent(fields, "", "  ")
}

// Abort removes everything written so far. After Commit it does nothing.
func (w *Writer) Abort() {
	w.Keep()
	w.at.Clear() //nolint:errcheck // nothing can be done about it
}

// Keep ends the writer and leaves what is written for another one.
func (w *Writer) Keep() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
}
