package model

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"nibble/kernels"
	"nibble/model/arch"
	"nibble/model/chat"
	"nibble/model/source"
	"nibble/model/tokenizer"
)

// Checkpoint is an opened model: its configuration and tokenizer, and its
// tensors, mapped. It is safe for concurrent use until closed.
type Checkpoint struct {
	Name       string // last element of the path, or "demo"
	Ref        string // for messages: Path, or what stands for it
	Path       string // as given to Open
	Config     Config
	Generation Generation
	Tokenizer  *tokenizer.Tokenizer // nil if TokenizerErr is set
	Template   *chat.Template       // nil if the model has none
	Quantized  bool                 // some of its matrices are stored as codes, which the kernels use where they have such

	// Notes tell what the files say and is not done, or not as one might think.
	Notes []string

	// TemplateSource is the text of the chat template, or "".
	TemplateSource string

	// TokenizerErr says why there is no tokenizer. Quantizing does not need one.
	TokenizerErr error
	// TemplateErr says why the chat template cannot be used, if there is one.
	TemplateErr error

	files     files
	tensors   map[string]stored
	described map[string]Described // that are not stored as they are described
	schemes   quantConfig
	codes     map[string]codes       // of matrices, by module
	looking   bool                   // by Look
	summary   string                 // of the tokenizer
	gguf      *arch.GGUF             // what the header says, of a GGUF file
	sources   map[string]arch.Stored // where a GGUF file has what is described; nil for others
	ggufUsed  map[string]bool        // tensors of a GGUF file that sources name

	magnitudes sync.Map // what Magnitudes found, by module
	hash       func() string
	hashed     atomic.Bool // hash was asked for
}

// Tensor is a floating-point tensor; Data is mapped and read-only.
type Tensor struct {
	Name  string
	DType kernels.DType
	Shape []int
	Data  []byte
}

// Len returns the number of elements.
func (t Tensor) Len() int { return len(t.Data) / t.DType.Size() }

// Floats decodes the whole tensor.
func (t Tensor) Floats() []float32 {
	out := make([]float32, t.Len())
	kernels.DecodeFloats(out, t.Data, t.DType)
	return out
}

// Weight is one matrix of the model: exactly one of the fields is set.
type Weight struct {
	Float *Tensor
	Q     *kernels.QTensor
}

// Open opens a model reference: "demo", or the path of a Hugging Face directory or
// of a GGUF file.
// It checks that every tensor the architecture needs is there with the right
// shape, but reads none of them.
func Open(ref string) (*Checkpoint, error) { return open(ref, false) }

// Look opens a model to say what it is, as fast as its header allows: there is no
// Tokenizer, whose tables take longer to build than all else, only its
// TokenizerSummary.
func Look(ref string) (*Checkpoint, error) { return open(ref, true) }

func open(ref string, looking bool) (*Checkpoint, error) {
	src, name, err := locate(ref)
	if err != nil {
		return nil, err
	}
	if d, ok := src.(*dirFiles); ok {
		d.looking = looking
	}
	c := &Checkpoint{Name: name, Ref: ref, Path: ref, files: src, tensors: make(map[string]stored), looking: looking}
	if err := source.Guard(c.open); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Checkpoint) open() error {
	if f, ok := c.files.(*ggufFiles); ok {
		if err := c.openGGUF(f); err != nil {
			return err
		}
	}
	data, _, err := readConfig(c.files, c.Ref) // before the weights, which may be anything
	if err != nil {
		return err
	}
	if c.gguf == nil {
		if err := c.openTensors(); err != nil {
			return err
		}
	}
	var raw rawConfig
	if c.Config, raw, err = parseConfig(data, c.storedByName); err != nil {
		return fmt.Errorf("%s: %w", c.files.path("config.json"), err)
	}
	if err := c.openQuantConfig(raw); err != nil {
		return err
	}
	if c.gguf != nil {
		c.sources, c.ggufUsed = c.gguf.Tensors(c.Config.Model), map[string]bool{}
		for _, s := range c.sources {
			for _, p := range s.Parts {
				c.ggufUsed[p.Tensor] = true
			}
		}
	} else {
		c.resolveTied()
	}
	c.describe()
	if err := c.check(); err != nil {
		return err
	}
	c.prune()
	c.openGeneration()
	c.openTokenizer()
	c.files.settle()
	c.hash = sync.OnceValue(c.computeHash)
	return nil
}

func (c *Checkpoint) openQuantConfig(raw rawConfig) (err error) {
	specs, key := raw.QuantizationSpecs, "quantization_config"
	if isNull(specs) {
		specs, key = raw.CompressionSpecs, "compression_config"
	}
	if c.schemes, err = parseQuantConfig(specs); err != nil {
		return fmt.Errorf("%s: %s: %w", c.files.path("config.json"), key, err)
	}
	c.Notes = append(c.Notes, c.schemes.notes...)
	return nil
}

// check makes sure that everything the forward pass needs is there.
func (c *Checkpoint) check() error {
	c.codes = make(map[string]codes)
	if c.gguf != nil {
		return c.checkUse()
	}
	if err := c.findCodes(); err != nil {
		return err
	}
	for _, d := range c.Config.Floats() {
		if err := c.want(d); err != nil {
			return err
		}
	}
	if len(c.schemes.groups) > 0 && !c.Quantized {
		c.Notes = append(c.Notes, "config.json says that matrices are quantized, and none is stored so: they are what they are stored as")
	}
	return nil
}

// want checks that a described tensor is stored, in the right shape.
func (c *Checkpoint) want(d Described) error {
	if c.inBlocks(d) {
		return c.checkMXFP4(d)
	}
	_, _, _, err := c.part(d)
	return err
}

// Close unmaps the files. Tensors must not be used afterwards.
func (c *Checkpoint) Close() error {
	c.tensors = nil
	return c.files.close()
}

// Unchanged returns an error, a [source.Change], that says which file of the model
// is not what it was when it was opened. A result that must not mix two states of a
// model asks before it counts.
func (c *Checkpoint) Unchanged() error {
	return c.files.unchanged(func() (same bool, err error) {
		if !c.hashed.Load() {
			return false, nil // there is nothing to compare with
		}
		err = source.Guard(func() error {
			same = c.computeHash() == c.hash()
			return nil
		})
		return same, err
	})
}

// Guard runs f, which reads the model, and reports why its files could not be read
// or that they are not what they were. Such an error stands for whatever f found.
func (c *Checkpoint) Guard(f func() error) error {
	err := source.Guard(f)
	if errors.Is(err, source.ErrChanged) {
		return err
	}
	if changed := c.Unchanged(); changed != nil {
		return changed
	}
	return err
}

// Names lists the stored tensors in order.
func (c *Checkpoint) Names() []string { return slices.Sorted(maps.Keys(c.tensors)) }

// Stored describes one tensor as it is stored, for listings.
func (c *Checkpoint) Stored(name string) (dtype string, shape []int, bytes int64) {
	if d, ok := c.described[name]; ok && c.sources != nil {
		dtype, bytes = c.storedGGUF(d)
		return dtype, d.Shape, bytes
	}
	t := c.tensors[name]
	return t.dtype, t.shape, int64(len(t.data))
}

// Tensor returns a floating-point tensor by the name that the description gives it,
// outputs x inputs if it is a matrix, or else by its stored name. It is mapped
// where its elements lie together; of codes, it is what they stand for.
func (c *Checkpoint) Tensor(name string) (Tensor, error) {
	if k, ok := c.codes[strings.TrimSuffix(name, ".weight")]; ok && c.gguf == nil {
		return decoded(name, k)
	}
	if d, ok := c.described[name]; ok {
		return c.viewed(d)
	}
	t, ok := c.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("%s: tensor %s: %w", c.Ref, name, ErrNotFound)
	}
	dt, ok := floatDType(t.dtype)
	if !ok {
		return Tensor{}, fmt.Errorf("%s: tensor %s: %w: dtype %s (F32, F16 and BF16 are)", c.Ref, name, ErrUnsupported, t.dtype)
	}
	return Tensor{Name: name, DType: dt, Shape: t.shape, Data: t.data}, nil
}

// Bytes returns the size of the stored tensors.
func (c *Checkpoint) Bytes() int64 {
	n := int64(0)
	for _, t := range c.tensors {
		n += int64(len(t.data))
	}
	return n
}

// Mapped reports whether the tensors are mapped from files, not read into memory.
func (c *Checkpoint) Mapped() bool { return c.files.mappings() }

// Params returns the number of parameters, tied matrices counted once.
func (c *Checkpoint) Params() int64 {
	return c.Config.Params()
}

// DType describes the storage types, "BF16" or "I32 + F16".
func (c *Checkpoint) DType() string {
	bytes := make(map[string]int)
	for _, t := range c.tensors {
		bytes[t.dtype] += len(t.data)
	}
	names := slices.SortedFunc(maps.Keys(bytes), func(a, b string) int { return bytes[b] - bytes[a] })
	out := ""
	for _, n := range names {
		if out != "" {
			out += " + "
		}
		out += n
	}
	return out
}

// Hash returns a SHA-256 over the configuration and the SHA-256 of every tensor,
// in hexadecimal: the identity of the model. It reads all weights, once, and must be
// called under [source.Guard], or a Guard of the checkpoint or of an engine.
func (c *Checkpoint) Hash() string {
	c.hashed.Store(true)
	return c.hash()
}

// Release says that a tensor's mapped pages are not needed soon, so that a pass
// over a checkpoint does not end up with all of it in memory. Reading the tensor
// again is always right, and reads the file again.
func (c *Checkpoint) Release(name string) {
	if d, ok := c.described[name]; ok && c.sources != nil {
		c.releaseGGUF(d)
	} else if ok {
		if data, _, _, err := c.part(d); err == nil {
			c.release(data)
		}
	} else if t, ok := c.tensors[name]; ok {
		c.release(t.data)
	}
}

// ReleaseWeight releases all that a module's weight is stored in.
func (c *Checkpoint) ReleaseWeight(m Module) {
	if _, coded := c.codes[m.Name]; c.gguf != nil || !coded {
		c.Release(m.Name + ".weight")
		return
	}
	for _, name := range c.Parts(m) {
		c.release(c.tensors[name].data)
	}
}

// Parts names the tensors that a module's weight is stored in; those of GGUF files may
// hold others' as well and are not named.
func (c *Checkpoint) Parts(m Module) (names []string) {
	for _, suffix := range layoutSuffixes {
		if c.stored(m.Name + suffix) {
			names = append(names, m.Name+suffix)
		}
	}
	return names
}

func (c *Checkpoint) release(part []byte) {
	c.files.release(part)
}

// hashChunk bounds the pages that hashing holds at once.
const hashChunk = 4 << 20

func (c *Checkpoint) computeHash() string {
	names := c.Names()
	sums := make([][]byte, len(names))
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var done sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		done.Go(func() {
			err := source.Guard(func() error {
				for i := int(next.Add(1)) - 1; i < len(names); i = int(next.Add(1)) - 1 {
					h := sha256.New()
					for part := range slices.Chunk(c.tensors[names[i]].data, hashChunk) {
						h.Write(part)
						c.release(part)
					}
					sums[i] = h.Sum(nil)
				}
				return nil
			})
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	done.Wait()
	if err := failed.Load(); err != nil {
		panic(*err) // for the guard of the caller
	}
	h := sha256.New()
	h.Write(c.Config.Raw)
	for i, name := range names {
		t := c.tensors[name]
		fmt.Fprintf(h, "\n%s %s %v %x\n", name, t.dtype, t.shape, sums[i])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// CheckFinite reports the first NaN or infinity of a tensor.
func (c *Checkpoint) CheckFinite(ctx context.Context, name string) error {
	t, err := c.Tensor(name)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if i := firstNotFinite(t); i >= 0 {
		var v [1]float32
		kernels.DecodeFloats(v[:], t.Data[i*t.DType.Size():], t.DType)
		return fmt.Errorf("%s: tensor %s: %w: element %d is %v; the checkpoint is damaged", c.Ref, name, ErrNotFinite, i, v[0])
	}
	return nil
}

// firstNotFinite returns the index of the first element whose exponent is all
// ones, or -1.
func firstNotFinite(t Tensor) int {
	if t.DType == kernels.F32 {
		for i := 0; i+4 <= len(t.Data); i += 4 {
			if binary.LittleEndian.Uint32(t.Data[i:])&0x7f800000 == 0x7f800000 {
				return i / 4
			}
		}
		return -1
	}
	mask := uint16(0x7c00)
	if t.DType == kernels.BF16 {
		mask = 0x7f80
	}
	for i := 0; i+2 <= len(t.Data); i += 2 {
		if binary.LittleEndian.Uint16(t.Data[i:])&mask == mask {
			return i / 2
		}
	}
	return -1
}

// ContextLen returns the longest context in tokens.
func (c *Checkpoint) ContextLen() int { return min(c.Config.Positions, math.MaxInt32) }
