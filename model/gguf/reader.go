package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
)

// File is the parsed header of a GGUF file; the tensors' data stays in r.
type File struct {
	KVs     []KV
	Tensors []Tensor
	r       io.ReaderAt
}

// Read parses a file of the given size, which is treated as hostile: nothing is
// allocated before the file is known to be long enough for it, names are unique,
// and the tensors lie one after the other inside the file without holes.
func Read(r io.ReaderAt, size int64) (*File, error) {
	p := &parser{in: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 1<<16), left: size, size: size}
	f := &File{r: r}
	tensors, err := p.header(f)
	if err != nil {
		return nil, err
	}
	return f, p.tensors(f, tensors)
}

// Value returns the value of a key.
func (f *File) Value(key string) (any, bool) {
	for _, kv := range f.KVs {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return nil, false
}

// Rows calls f with the decoded values of every row of a tensor. The slice is
// reused.
func (f *File) Rows(t Tensor, fn func(row int, values []float32) error) error {
	if !t.Type.Decodable() {
		return fmt.Errorf("%w: tensor %q is %s", ErrUnsupported, t.Name, t.Type)
	}
	n := t.Type.RowBytes(t.Cols())
	in := bufio.NewReaderSize(io.NewSectionReader(f.r, t.Offset, t.Size), chunk)
	raw, values := make([]byte, n), make([]float32, t.Cols())
	for r := range t.Rows() {
		if _, err := io.ReadFull(in, raw); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if err := DecodeRow(values, raw, t.Type); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if err := fn(r, values); err != nil {
			return err
		}
	}
	return nil
}

// parser reads forward and knows how much is left.
type parser struct {
	in         *bufio.Reader
	left, size int64
}

// need reports whether count elements of at least size bytes can still follow.
func (p *parser) need(count uint64, size int64, what string) error {
	if count > uint64(p.left/size) {
		return fmt.Errorf("%w: %s needs %d x %d bytes, %d are left", ErrTruncated, what, count, size, p.left)
	}
	return nil
}

func (p *parser) bytes(b []byte, what string) error {
	if err := p.need(uint64(len(b)), 1, what); err != nil {
		return err
	}
	if _, err := io.ReadFull(p.in, b); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrTruncated, what, err)
	}
	p.left -= int64(len(b))
	return nil
}

func (p *parser) u32(what string) (uint32, error) {
	var b [4]byte
	err := p.bytes(b[:], what)
	return binary.LittleEndian.Uint32(b[:]), err
}

func (p *parser) u64(what string) (uint64, error) {
	var b [8]byte
	err := p.bytes(b[:], what)
	return binary.LittleEndian.Uint64(b[:]), err
}

func (p *parser) string(what string) (string, error) {
	n, err := p.u64(what)
	if err != nil {
		return "", err
	}
	if err := p.need(n, 1, what); err != nil {
		return "", err
	}
	if n <= uint64(p.in.Size()) { // a vocabulary has many short ones
		b, err := p.in.Peek(int(n))
		if err != nil {
			return "", fmt.Errorf("%w: %s: %v", ErrTruncated, what, err)
		}
		s := string(b)
		p.left -= int64(n)
		_, err = p.in.Discard(int(n))
		return s, err
	}
	b := make([]byte, n)
	err = p.bytes(b, what)
	return string(b), err
}

// name reads a string that names something.
func (p *parser) name(what string, longest int, seen map[string]bool) (string, error) {
	s, err := p.string(what)
	switch {
	case err != nil:
		return "", err
	case s == "" || len(s) > longest || !utf8.ValidString(s):
		return "", fmt.Errorf("%w: a %s of %d bytes is empty, too long or not UTF-8", ErrCorrupt, what, len(s))
	case seen[s]:
		return "", fmt.Errorf("%w: the %s %q appears twice", ErrCorrupt, what, s)
	}
	seen[s] = true
	return s, nil
}

// The least a key with its value and a tensor's description take in a file.
const (
	leastKV     = 8 + 1 + 4 + 1
	leastTensor = 8 + 1 + 4 + 8 + 4 + 8
	maxKey      = 1<<16 - 1
)

// header reads everything up to the tensors' descriptions and returns their
// number.
func (p *parser) header(f *File) (uint64, error) {
	var b [4]byte
	if err := p.bytes(b[:], "magic"); err != nil {
		return 0, err
	}
	if string(b[:]) != magic {
		return 0, fmt.Errorf("%w: it does not begin with %q", ErrCorrupt, magic)
	}
	v, err := p.u32("version")
	if err != nil {
		return 0, err
	}
	if v != 2 && v != version { // they differ in big-endian files alone
		return 0, fmt.Errorf("%w: version %d (2 and %d are)", ErrUnsupported, v, version)
	}
	tensors, err := p.u64("number of tensors")
	if err != nil {
		return 0, err
	}
	kvs, err := p.u64("number of keys")
	if err != nil {
		return 0, err
	}
	if err := p.need(kvs, leastKV, "list of keys"); err != nil {
		return 0, err
	}
	seen := make(map[string]bool)
	for range kvs {
		key, err := p.name("key", maxKey, seen)
		if err != nil {
			return 0, err
		}
		value, err := p.value(key)
		if err != nil {
			return 0, err
		}
		f.KVs = append(f.KVs, KV{key, value})
	}
	return tensors, nil
}

func (p *parser) tensors(f *File, count uint64) error {
	if err := p.need(count, leastTensor, "list of tensors"); err != nil {
		return err
	}
	alignment := int64(Alignment)
	if v, ok := f.Value("general.alignment"); ok {
		a, ok := v.(uint32)
		if !ok || a == 0 || a%8 != 0 || a > 1<<20 {
			return fmt.Errorf("%w: general.alignment is %v, not a multiple of 8", ErrCorrupt, v)
		}
		alignment = int64(a)
	}
	seen := make(map[string]bool)
	for range count {
		t, err := p.tensor(seen)
		if err != nil {
			return err
		}
		f.Tensors = append(f.Tensors, t)
	}
	if len(f.Tensors) == 0 { // a vocabulary alone
		if p.left >= alignment {
			return fmt.Errorf("%w: %d bytes follow the header and there are no tensors", ErrCorrupt, p.left)
		}
		return nil
	}
	start := align(p.size-p.left, alignment)
	at := start
	for i, t := range f.Tensors {
		if t.Offset != at-start {
			return fmt.Errorf("%w: tensor %q lies at %d where %d was expected (overlap or hole)", ErrCorrupt, t.Name, t.Offset, at-start)
		}
		if at > p.size || t.Size > p.size-at {
			return fmt.Errorf("%w: tensor %q needs %d bytes from %d on, the file has %d", ErrTruncated, t.Name, t.Size, at, p.size)
		}
		f.Tensors[i].Offset = at
		at = align(at+t.Size, alignment)
	}
	if p.size > at {
		return fmt.Errorf("%w: %d bytes follow the last tensor", ErrCorrupt, p.size-at)
	}
	return nil
}

// tensor reads a description; the offset is from the start of the data.
func (p *parser) tensor(seen map[string]bool) (Tensor, error) {
	name, err := p.name("tensor name", maxName, seen)
	if err != nil {
		return Tensor{}, err
	}
	n, err := p.u32(name)
	if err != nil {
		return Tensor{}, err
	}
	if n < 1 || n > maxDims {
		return Tensor{}, fmt.Errorf("%w: tensor %q has %d dimensions, not 1 to %d", ErrCorrupt, name, n, maxDims)
	}
	t := Tensor{Name: name, Dims: make([]uint64, n)}
	for i := range t.Dims {
		if t.Dims[i], err = p.u64(name); err != nil {
			return t, err
		}
	}
	kind, err := p.u32(name)
	if err != nil {
		return t, err
	}
	offset, err := p.u64(name)
	if err != nil {
		return t, err
	}
	t.Type = Type(kind)
	if offset > math.MaxInt64 {
		return t, fmt.Errorf("%w: tensor %q lies at %d", ErrCorrupt, name, offset)
	}
	t.Offset = int64(offset)
	t.Size, err = t.size()
	return t, err
}

// value reads the value of a key: its type, then itself.
func (p *parser) value(key string) (any, error) {
	kind, err := p.u32(key)
	if err != nil {
		return nil, err
	}
	if kind != typeArray {
		return p.scalar(kind, key)
	}
	if kind, err = p.u32(key); err != nil {
		return nil, err
	}
	n, err := p.u64(key)
	if err != nil {
		return nil, err
	}
	return p.array(kind, n, key)
}

func (p *parser) scalar(kind uint32, key string) (any, error) {
	if kind == typeString {
		return p.string(key)
	}
	size, ok := scalarSizes[kind]
	if !ok {
		return nil, fmt.Errorf("%w: key %q has a value of type %d", ErrCorrupt, key, kind)
	}
	var b [8]byte
	if err := p.bytes(b[:size], key); err != nil {
		return nil, err
	}
	u := binary.LittleEndian.Uint64(b[:])
	switch kind {
	case typeUint8:
		return uint8(u), nil
	case typeInt8:
		return int8(u), nil
	case typeUint16:
		return uint16(u), nil
	case typeInt16:
		return int16(u), nil
	case typeUint32:
		return uint32(u), nil
	case typeInt32:
		return int32(u), nil
	case typeFloat32:
		return math.Float32frombits(uint32(u)), nil
	case typeUint64:
		return u, nil
	case typeInt64:
		return int64(u), nil
	case typeFloat64:
		return math.Float64frombits(u), nil
	}
	if u > 1 { // bool
		return nil, fmt.Errorf("%w: key %q has a truth value of %d", ErrCorrupt, key, u)
	}
	return u == 1, nil
}

// scalarSizes holds the bytes of the values with a fixed length.
var scalarSizes = map[uint32]int64{typeUint8: 1, typeInt8: 1, typeBool: 1, typeUint16: 2, typeInt16: 2, typeUint32: 4, typeInt32: 4,
	typeFloat32: 4, typeUint64: 8, typeInt64: 8, typeFloat64: 8}

func (p *parser) array(kind uint32, n uint64, key string) (any, error) {
	least, ok := scalarSizes[kind]
	switch {
	case kind == typeString:
		least = 8
	case kind == typeArray:
		return nil, fmt.Errorf("%w: key %q is an array of arrays", ErrUnsupported, key)
	case !ok:
		return nil, fmt.Errorf("%w: key %q is an array of type %d", ErrCorrupt, key, kind)
	}
	if err := p.need(n, least, key); err != nil {
		return nil, err
	}
	switch kind {
	case typeUint8:
		return list[uint8](p, kind, n, key)
	case typeInt8:
		return list[int8](p, kind, n, key)
	case typeUint16:
		return list[uint16](p, kind, n, key)
	case typeInt16:
		return list[int16](p, kind, n, key)
	case typeUint32:
		return list[uint32](p, kind, n, key)
	case typeInt32:
		return list[int32](p, kind, n, key)
	case typeFloat32:
		return list[float32](p, kind, n, key)
	case typeBool:
		return list[bool](p, kind, n, key)
	case typeUint64:
		return list[uint64](p, kind, n, key)
	case typeInt64:
		return list[int64](p, kind, n, key)
	case typeFloat64:
		return list[float64](p, kind, n, key)
	}
	return list[string](p, kind, n, key)
}

// list reads n elements; need has seen that the file has room for them.
func list[E any](p *parser, kind uint32, n uint64, key string) (any, error) {
	out := make([]E, n)
	if kind == typeString {
		texts := any(out).([]string)
		for i := range texts {
			var err error
			if texts[i], err = p.string(key); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	if kind == typeBool {
		for i := range out {
			v, err := p.scalar(kind, key)
			if err != nil {
				return nil, err
			}
			out[i] = v.(E)
		}
		return out, nil
	}
	if err := binary.Read(io.LimitReader(p.in, int64(n)*scalarSizes[kind]), binary.LittleEndian, out); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", ErrTruncated, key, err)
	}
	p.left -= int64(n) * scalarSizes[kind]
	return out, nil
}
