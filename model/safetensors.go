package model

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"

	"nibble/kernels"
	"nibble/model/gguf"
	"nibble/model/source"
)

// maxHeader bounds a safetensors header, as the reference implementation does.
const maxHeader = 100 << 20

// stored is one tensor of a file; data is mapped.
type stored struct {
	dtype string
	shape []int
	data  []byte
	ggml  gguf.Type // of GGUF files
}

// dtypeSizes holds the element sizes of the dtypes nibble reads. A file may hold
// tensors of other dtypes: they are listed, and refused only when needed.
var dtypeSizes = map[string]int{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
	"U32": 4, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1}

// floatDType maps a safetensors dtype to the kernels'.
func floatDType(name string) (kernels.DType, bool) {
	switch name {
	case "F32":
		return kernels.F32, true
	case "F16":
		return kernels.F16, true
	case "BF16":
		return kernels.BF16, true
	}
	return 0, false
}

// parseSafetensors reads the header of a safetensors file (8 bytes of length, a
// JSON object, then the data; https://huggingface.co/docs/safetensors) and adds
// its tensors to into. Every offset is checked against the file; tensors may not
// overlap, leave holes or appear twice.
func parseSafetensors(file []byte, into map[string]stored) error {
	if len(file) < 8 {
		return fmt.Errorf("%w: %d bytes are less than a safetensors header", ErrTruncated, len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	if n > maxHeader {
		return fmt.Errorf("%w: the header claims %d bytes, this is no safetensors file", ErrCorrupt, n)
	}
	if n > uint64(len(file)-8) {
		return fmt.Errorf("%w: the header needs %d bytes, the file has %d", ErrTruncated, n, len(file)-8)
	}
	data := file[8+n:]
	entries, err := parseHeader(file[8 : 8+n])
	if err != nil {
		return err
	}
	sort.Slice(entries, func(i, j int) bool {
		if entries[i].begin != entries[j].begin {
			return entries[i].begin < entries[j].begin
		}
		return entries[i].end < entries[j].end
	})
	at := int64(0)
	for _, e := range entries {
		if e.begin != at || e.end < e.begin {
			return fmt.Errorf("%w: tensor %s lies at %d to %d where %d was expected (overlap or hole)", ErrCorrupt, source.Quote(e.name), e.begin, e.end, at)
		}
		if e.end > int64(len(data)) {
			return fmt.Errorf("%w: tensor %s ends at byte %d of %d; download it again", ErrTruncated, source.Quote(e.name), e.end, len(data))
		}
		if size, known := dtypeSizes[e.dtype]; known {
			if want, ok := byteSize(e.shape, size); !ok || want != e.end-e.begin {
				return fmt.Errorf("%w: tensor %s of %s %v does not fill its %d bytes", ErrCorrupt, source.Quote(e.name), source.Quote(e.dtype), e.shape, e.end-e.begin)
			}
		}
		if _, twice := into[e.name]; twice {
			return fmt.Errorf("%w: tensor %s appears twice", ErrCorrupt, source.Quote(e.name))
		}
		into[e.name] = stored{dtype: e.dtype, shape: e.shape, data: data[e.begin:e.end:e.end]}
		at = e.end
	}
	if at != int64(len(data)) {
		return fmt.Errorf("%w: %d bytes follow the last tensor", ErrCorrupt, int64(len(data))-at)
	}
	return nil
}

func byteSize(shape []int, size int) (int64, bool) {
	n := int64(size)
	for _, d := range shape {
		if d < 0 || (d > 0 && n > math.MaxInt64/int64(d)) {
			return 0, false
		}
		n *= int64(d)
	}
	return n, true
}

type headerEntry struct {
	name, dtype string
	shape       []int
	begin, end  int64
}

// parseHeader walks the JSON object key by key, because decoding into a map
// would hide duplicate names.
func parseHeader(header []byte) ([]headerEntry, error) {
	dec := json.NewDecoder(bytes.NewReader(header))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%w: the header is no JSON object", ErrCorrupt)
	}
	var entries []headerEntry
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, headerError(err)
		}
		name, _ := key.(string)
		if name == "__metadata__" {
			var ignored map[string]any
			if err := dec.Decode(&ignored); err != nil {
				return nil, headerError(err)
			}
			continue
		}
		var v struct {
			DType   string  `json:"dtype"`
			Shape   []int   `json:"shape"`
			Offsets []int64 `json:"data_offsets"`
		}
		if err := dec.Decode(&v); err != nil {
			return nil, headerError(err)
		}
		if len(v.Offsets) != 2 || v.Offsets[0] < 0 || v.DType == "" {
			return nil, fmt.Errorf("%w: tensor %s has no dtype or no offsets", ErrCorrupt, source.Quote(name))
		}
		entries = append(entries, headerEntry{name, v.DType, v.Shape, v.Offsets[0], v.Offsets[1]})
	}
	if _, err := dec.Token(); err != nil {
		return nil, headerError(err)
	}
	return entries, nil
}

func headerError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the header ends early", ErrCorrupt)
	}
	return fmt.Errorf("%w: header: %v", ErrCorrupt, err)
}
