package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

const (
	magic   = "GGUF"
	version = 3
)

// Layout is the plan of a file: every byte but the tensors' data is known, and
// so is the size.
type Layout struct {
	Header  []byte // padded: the data follows
	Tensors []Tensor
	Size    int64
}

// NewLayout lays out a file. Of each tensor it takes name, type and dimensions,
// and fills in offset and size.
func NewLayout(kvs []KV, tensors []Tensor) (*Layout, error) {
	l := &Layout{Tensors: make([]Tensor, len(tensors))}
	h := append([]byte(magic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(h[4:], version)
	h = binary.LittleEndian.AppendUint64(h, uint64(len(tensors)))
	h = binary.LittleEndian.AppendUint64(h, uint64(len(kvs)))
	seen := make(map[string]bool)
	for _, kv := range kvs {
		if kv.Key == "" || seen[kv.Key] {
			return nil, fmt.Errorf("%w: key %q is empty or given twice", ErrLayout, kv.Key)
		}
		seen[kv.Key] = true
		var err error
		if h, err = appendValue(appendString(h, kv.Key), kv.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", kv.Key, err)
		}
	}
	clear(seen)
	at := int64(0) // from the start of the data
	for i, t := range tensors {
		if t.Name == "" || len(t.Name) > maxName || seen[t.Name] {
			return nil, fmt.Errorf("%w: tensor name %q is empty, longer than %d bytes or given twice", ErrLayout, t.Name, maxName)
		}
		seen[t.Name] = true
		size, err := t.size()
		if err != nil {
			return nil, err
		}
		h = binary.LittleEndian.AppendUint32(appendString(h, t.Name), uint32(len(t.Dims)))
		for _, d := range t.Dims {
			h = binary.LittleEndian.AppendUint64(h, d)
		}
		h = binary.LittleEndian.AppendUint32(h, uint32(t.Type))
		h = binary.LittleEndian.AppendUint64(h, uint64(at))
		l.Tensors[i] = Tensor{t.Name, t.Type, t.Dims, at, size}
		at = align(at+size, Alignment)
	}
	l.Header = append(h, make([]byte, align(int64(len(h)), Alignment)-int64(len(h)))...)
	for i := range l.Tensors {
		l.Tensors[i].Offset += int64(len(l.Header))
	}
	l.Size = int64(len(l.Header)) + at
	return l, nil
}

// chunk bounds what is buffered before it is written.
const chunk = 1 << 20

// Write writes a file: the header, then every row of every tensor in order, as
// row fills it in, called with the tensor's index and the row's. No more than one
// row and a buffer are in memory.
func (l *Layout) Write(w io.Writer, row func(dst []byte, tensor, row int) error) error {
	out := bufio.NewWriterSize(w, chunk)
	if _, err := out.Write(l.Header); err != nil {
		return err
	}
	var buf []byte
	for i, t := range l.Tensors {
		n := t.Type.RowBytes(t.Cols())
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		for r := range t.Rows() {
			if err := row(buf[:n], i, r); err != nil {
				return err
			}
			if _, err := out.Write(buf[:n]); err != nil {
				return err
			}
		}
		if _, err := out.Write(make([]byte, align(t.Size, Alignment)-t.Size)); err != nil {
			return err
		}
	}
	return out.Flush()
}
