package eval

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"slices"

	"nibble/model/jsonnum"
)

// states are a reference's hidden states: for every window those of its scored
// half. They are in memory or in a file, from which they are read one window at a
// time, so that a long text needs no more memory than a short one.
//
// The file is statesMagic, the length of a JSON header, the header, its CRC-32C,
// and for every window its float32 values and their CRC-32C; all little-endian.
type states struct {
	size   int // floats of a window
	memory [][]float32
	file   *os.File
	start  int64 // of the first window in the file
}

// statesHeader says what a file holds.
type statesHeader struct {
	Key     string  `json:"key"`
	Model   string  `json:"model"` // for people
	Text    string  `json:"text"`  // for people
	Windows int     `json:"windows"`
	Size    int     `json:"size"` // floats of a window
	PPL     float64 `json:"ppl"`
	PPLSE   float64 `json:"ppl_se"`
	Tokens  int     `json:"tokens"`
}

const (
	statesMagic     = "nibble states 1\n"
	maxStatesHeader = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errStates marks a file that is none, or damaged.
var errStates = errors.New("no hidden states")

func (s *states) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// statesReader reads windows with buffers of its own, for one goroutine.
type statesReader struct {
	*states
	raw []byte
	buf []float32
}

func (s *states) reader() *statesReader { return &statesReader{states: s} }

// window returns the hidden states of window i, valid until the next call.
func (r *statesReader) window(i int) ([]float32, error) {
	if r.file == nil {
		return r.memory[i], nil
	}
	n := 4 * r.size
	r.raw = slices.Grow(r.raw[:0], n+4)[:n+4]
	if _, err := r.file.ReadAt(r.raw, r.start+int64(i)*int64(n+4)); err != nil {
		return nil, fmt.Errorf("%w: %v", errStates, err)
	}
	if crc32.Checksum(r.raw[:n], castagnoli) != binary.LittleEndian.Uint32(r.raw[n:]) {
		return nil, fmt.Errorf("%w: %s is damaged at window %d", errStates, r.file.Name(), i+1)
	}
	r.buf = growFloats(r.buf, r.size)
	for j := range r.buf {
		r.buf[j] = math.Float32frombits(binary.LittleEndian.Uint32(r.raw[4*j:]))
	}
	return r.buf, nil
}

// openStates opens a file that must hold what want says and be undamaged, and
// returns its header.
func openStates(f *os.File, want statesHeader) (*states, statesHeader, error) {
	var h statesHeader
	lead := make([]byte, len(statesMagic)+4)
	if _, err := io.ReadFull(f, lead); err != nil {
		return nil, h, fmt.Errorf("%w: %v", errStates, err)
	}
	n := binary.LittleEndian.Uint32(lead[len(statesMagic):])
	if string(lead[:len(statesMagic)]) != statesMagic || n > maxStatesHeader {
		return nil, h, errStates
	}
	raw := make([]byte, n+4)
	if _, err := io.ReadFull(f, raw); err != nil {
		return nil, h, fmt.Errorf("%w: %v", errStates, err)
	}
	if crc32.Checksum(raw[:n], castagnoli) != binary.LittleEndian.Uint32(raw[n:]) || jsonnum.Unmarshal(raw[:n], &h) != nil {
		return nil, h, errStates
	}
	if h.Key != want.Key || h.Windows != want.Windows || h.Size != want.Size {
		return nil, h, fmt.Errorf("%w: of something else", errStates)
	}
	s := &states{size: h.Size, file: f, start: int64(len(lead) + len(raw))}
	if info, err := f.Stat(); err != nil || info.Size() != statesBytes(h)+s.start {
		return nil, h, fmt.Errorf("%w: not of its length", errStates)
	}
	r := s.reader()
	for i := range h.Windows {
		if _, err := r.window(i); err != nil {
			return nil, h, err
		}
	}
	return s, h, nil
}

// statesBytes is the size of the windows in a file.
func statesBytes(h statesHeader) int64 { return int64(h.Windows) * (4*int64(h.Size) + 4) }

// statesWriter takes windows in order. The header, which has the result, is
// written last, into room left for it.
type statesWriter struct {
	f   *os.File
	raw []byte
	n   int // windows that are written
}

// headerRoom is what a header may take; the rest of the room is spaces, which
// JSON allows.
const headerRoom = statesStart - len(statesMagic) - 8

// statesStart is where the windows of a written file start.
const statesStart = 4096

func newStatesWriter(f *os.File) (*statesWriter, error) {
	_, err := f.Seek(statesStart, io.SeekStart)
	return &statesWriter{f: f}, err
}

func (w *statesWriter) add(window []float32) error {
	w.raw = slices.Grow(w.raw[:0], 4*len(window)+4)
	for _, v := range window {
		w.raw = binary.LittleEndian.AppendUint32(w.raw, math.Float32bits(v))
	}
	w.raw = binary.LittleEndian.AppendUint32(w.raw, crc32.Checksum(w.raw, castagnoli))
	_, err := w.f.Write(w.raw)
	if err == nil {
		w.n++
	}
	return err
}

// read returns the windows that are written, in memory.
func (w *statesWriter) read(size int) (*states, error) {
	r := (&states{size: size, file: w.f, start: statesStart}).reader()
	all := &states{}
	for i := range w.n {
		window, err := r.window(i)
		if err != nil {
			return nil, err
		}
		all.memory = append(all.memory, slices.Clone(window))
	}
	return all, nil
}

func (w *statesWriter) finish(h statesHeader) error {
	h.Model, h.Text = shorten(h.Model), shorten(h.Text)
	body, err := jsonnum.Marshal(h)
	if err != nil {
		return err
	}
	for len(body) < headerRoom {
		body = append(body, ' ')
	}
	raw := append([]byte(statesMagic), binary.LittleEndian.AppendUint32(nil, uint32(len(body)))...)
	raw = append(raw, body...)
	raw = binary.LittleEndian.AppendUint32(raw, crc32.Checksum(body, castagnoli))
	_, err = w.f.WriteAt(raw, 0)
	return err
}

// shorten cuts a name that people may read to what fits the header's room.
func shorten(name string) string { return name[:min(len(name), 200)] }
