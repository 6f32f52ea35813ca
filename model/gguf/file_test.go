package gguf

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// tiny is a file with one key of each type and two tensors; every byte of a row
// is the tensor's number plus the row's.
func tiny(t testing.TB) []byte {
	t.Helper()
	l, err := NewLayout(tinyKeys(), []Tensor{{Name: "a", Type: F32, Dims: []uint64{3}}, {Name: "b.weight", Type: Q8_0, Dims: []uint64{32, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = l.Write(&out, func(dst []byte, tensor, row int) error {
		for i := range dst {
			dst[i] = byte(0x10*tensor + row)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if int64(out.Len()) != l.Size {
		t.Fatalf("the file has %d bytes, planned were %d", out.Len(), l.Size)
	}
	return out.Bytes()
}

func tinyKeys() []KV {
	return []KV{{"u8", uint8(200)}, {"i8", int8(-2)}, {"u16", uint16(60000)}, {"i16", int16(-3)}, {"u32", uint32(4e9)}, {"i32", int32(-4)},
		{"f32", float32(1.5)}, {"bool", true}, {"string", "héllo"}, {"u64", uint64(1 << 63)}, {"i64", int64(-5)}, {"f64", math.Pi},
		{"[u8", []uint8{1, 2}}, {"[i8", []int8{-1}}, {"[u16", []uint16{7}}, {"[i16", []int16{-7}}, {"[u32", []uint32{8, 9}}, {"[i32", []int32{-8}},
		{"[f32", []float32{0.5}}, {"[bool", []bool{true, false}}, {"[string", []string{"", "x"}}, {"[u64", []uint64{3}}, {"[i64", []int64{-9}},
		{"[f64", []float64{0.25}}, {"[none", []string{}}}
}

func read(data []byte) (*File, error) { return Read(bytes.NewReader(data), int64(len(data))) }

func TestGoldenBytes(t *testing.T) {
	l, err := NewLayout([]KV{{"general.architecture", "llama"}, {"n", uint32(7)}, {"s", []string{"ab"}}},
		[]Tensor{{Name: "x", Type: F16, Dims: []uint64{2, 3}}, {Name: "y", Type: Q4_0, Dims: []uint64{32}}})
	if err != nil {
		t.Fatal(err)
	}
	want := "47475546 03000000 0200000000000000 0300000000000000" +
		"1400000000000000 67656e6572616c2e617263686974656374757265 08000000 0500000000000000 6c6c616d61" +
		"0100000000000000 6e 04000000 07000000" +
		"0100000000000000 73 09000000 08000000 0100000000000000 0200000000000000 6162" +
		"0100000000000000 78 02000000 0200000000000000 0300000000000000 01000000 0000000000000000" +
		"0100000000000000 79 01000000 2000000000000000 02000000 2000000000000000"
	header, err := hex.DecodeString(strings.ReplaceAll(want, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	padded := append(header, make([]byte, (32-len(header)%32)%32)...)
	if !bytes.Equal(l.Header, padded) {
		t.Errorf("header:\n%x, want\n%x", l.Header, padded)
	}
	if start := int64(len(padded)); l.Tensors[0].Offset != start || l.Tensors[0].Size != 12 || l.Tensors[1].Offset != start+32 || l.Tensors[1].Size != 18 || l.Size != start+64 {
		t.Errorf("layout: %+v, %d bytes", l.Tensors, l.Size)
	}
}

func TestRoundTrip(t *testing.T) {
	data := tiny(t)
	f, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f.KVs, tinyKeys()) {
		t.Errorf("keys: %v", f.KVs)
	}
	if len(f.Tensors) != 2 || f.Tensors[1].Name != "b.weight" || f.Tensors[1].Rows() != 2 || f.Tensors[1].Cols() != 32 {
		t.Fatalf("tensors: %+v", f.Tensors)
	}
	var first []float32
	if err := f.Rows(f.Tensors[1], func(_ int, v []float32) error { first = append(first, v[0]); return nil }); err != nil {
		t.Fatal(err)
	}
	want := make([]float32, 1)
	for r, b := range []byte{0x10, 0x11} {
		row := bytes.Repeat([]byte{b}, 34)
		if want[0] = float32(valueAt(row, 0, Q8_0)); first[r] != want[0] {
			t.Errorf("row %d begins with %g, want %g", r, first[r], want[0])
		}
	}
	stop := errors.New("stop")
	if err := f.Rows(f.Tensors[0], func(int, []float32) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the callback came back as %v", err)
	}
	if v, ok := f.Value("string"); !ok || v != "héllo" {
		t.Errorf("string: %v %v", v, ok)
	}
	if _, ok := f.Value("none"); ok {
		t.Error("a key that is not there")
	}
}

// Every proper prefix is refused, but for the padding at the end.
func TestTruncated(t *testing.T) {
	data := tiny(t)
	f, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	last := f.Tensors[1]
	for n := range data {
		_, err := read(data[:n])
		if whole := int64(n) >= last.Offset+last.Size; whole != (err == nil) {
			t.Errorf("the first %d of %d bytes: %v", n, len(data), err)
		}
		if err != nil && !errors.Is(err, ErrTruncated) {
			t.Errorf("the first %d bytes: %v, want ErrTruncated", n, err)
		}
	}
}

// patch returns tiny with bytes overwritten after the first occurrence of mark.
func patch(t *testing.T, mark string, with ...byte) []byte {
	t.Helper()
	data := tiny(t)
	i := bytes.Index(data, []byte(mark))
	if i < 0 {
		t.Fatalf("%q is not in the file", mark)
	}
	copy(data[i+len(mark):], with)
	return data
}

func le64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func TestRefusals(t *testing.T) {
	le32 := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	huge := le64(1 << 62)
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":                 {nil, ErrTruncated},
		"magic":                 {append([]byte("GGML"), tiny(t)[4:]...), ErrCorrupt},
		"version":               {patch(t, "GGUF", 1), ErrUnsupported},
		"big-endian":            {patch(t, "GGUF", 0, 0, 0, 3), ErrUnsupported},
		"tensor count":          {patch(t, "GGUF\x03\x00\x00\x00", huge...), ErrTruncated},
		"key count":             {patch(t, "GGUF\x03\x00\x00\x00"+string(le64(2)), huge...), ErrTruncated},
		"key length":            {patch(t, "GGUF\x03\x00\x00\x00"+string(le64(2))+string(le64(25)), huge...), ErrTruncated},
		"key empty":             {patch(t, "GGUF\x03\x00\x00\x00"+string(le64(2))+string(le64(25)), 0), ErrCorrupt},
		"key not UTF-8":         {patch(t, string(le64(25))+string(le64(2)), 0xff), ErrCorrupt},
		"key twice":             {patch(t, string(le64(25))+string(le64(2)), []byte("i8")...), ErrCorrupt},
		"type of a value":       {patch(t, "u8", 99), ErrCorrupt},
		"string length":         {patch(t, "string"+string(le32(8)), huge...), ErrTruncated},
		"truth value":           {patch(t, "bool"+string(le32(7)), 2), ErrCorrupt},
		"array length":          {patch(t, "[u32"+string(le32(9))+string(le32(4)), huge...), ErrTruncated},
		"array of arrays":       {patch(t, "[u32"+string(le32(9)), 9), ErrUnsupported},
		"array of an odd type":  {patch(t, "[u32"+string(le32(9)), 77), ErrCorrupt},
		"strings too many":      {patch(t, "[string"+string(le32(9))+string(le32(8)), huge...), ErrTruncated},
		"no dimensions":         {patch(t, "b.weight", 0), ErrCorrupt},
		"five dimensions":       {patch(t, "b.weight", 5), ErrCorrupt},
		"dimension zero":        {patch(t, "b.weight"+string(le32(2)), 0), ErrCorrupt},
		"dimensions overflow":   {patch(t, "b.weight"+string(le32(2)), append(le64(1<<40), le64(1<<40)...)...), ErrCorrupt},
		"part of a block":       {patch(t, "b.weight"+string(le32(2)), 33), ErrLayout},
		"tensor type":           {patch(t, "b.weight"+string(le32(2))+string(le64(32))+string(le64(2)), 200), ErrUnsupported},
		"removed tensor type":   {patch(t, "b.weight"+string(le32(2))+string(le64(32))+string(le64(2)), 4), ErrUnsupported},
		"tensor too large":      {patch(t, "b.weight"+string(le32(2))+string(le64(32)), le64(1<<30)...), ErrTruncated},
		"overlap":               {patch(t, "b.weight"+string(le32(2))+string(le64(32))+string(le64(2))+string(le32(8)), 0), ErrCorrupt},
		"hole":                  {patch(t, "b.weight"+string(le32(2))+string(le64(32))+string(le64(2))+string(le32(8)), 64), ErrCorrupt},
		"offset beyond int64":   {patch(t, "b.weight"+string(le32(2))+string(le64(32))+string(le64(2))+string(le32(8)), le64(1<<63)...), ErrCorrupt},
		"something behind":      {append(tiny(t), 0), ErrCorrupt},
		"alignment of 12":       {aligned(t, uint32(12)), ErrCorrupt},
		"alignment of 0":        {aligned(t, uint32(0)), ErrCorrupt},
		"alignment not a u32":   {aligned(t, "32"), ErrCorrupt},
		"alignment as if 64":    {aligned(t, uint32(64)), ErrCorrupt},
		"tensor name too long":  {long(t), ErrCorrupt},
		"no tensors, but bytes": {append(empty(t), make([]byte, 64)...), ErrCorrupt},
	} {
		f, err := read(c.data)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v (%v)", name, err, c.want, f)
		}
	}
	if _, err := read(empty(t)); err != nil {
		t.Errorf("a file without tensors: %v", err)
	}
}

// aligned is a file whose tensors lie at multiples of 32 and that claims another
// alignment.
func aligned(t *testing.T, a any) []byte {
	t.Helper()
	l, err := NewLayout([]KV{{"general.alignment", a}}, []Tensor{{Name: "a", Type: F32, Dims: []uint64{1}}, {Name: "b", Type: F32, Dims: []uint64{1}}})
	if err != nil {
		t.Fatal(err)
	}
	return append(l.Header, make([]byte, 64)...)
}

func empty(t *testing.T) []byte {
	t.Helper()
	l, err := NewLayout(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l.Header
}

// long is a file with a tensor name of 64 bytes.
func long(t *testing.T) []byte {
	t.Helper()
	name := strings.Repeat("n", maxName)
	l, err := NewLayout(nil, []Tensor{{Name: name, Type: F32, Dims: []uint64{1}}})
	if err != nil {
		t.Fatal(err)
	}
	h := bytes.Replace(l.Header, append(le64(maxName), name...), append(le64(maxName+1), name+"n"...), 1)
	return append(h, make([]byte, 64)...)
}

func TestLayoutRefusals(t *testing.T) {
	one := []Tensor{{Name: "a", Type: F32, Dims: []uint64{1}}}
	for name, c := range map[string]struct {
		kvs     []KV
		tensors []Tensor
	}{
		"key twice":       {[]KV{{"k", uint8(1)}, {"k", uint8(2)}}, one},
		"key empty":       {[]KV{{"", uint8(1)}}, one},
		"value":           {[]KV{{"k", 1}}, one},
		"nil":             {[]KV{{"k", nil}}, one},
		"name twice":      {nil, append(one, one...)},
		"name empty":      {nil, []Tensor{{Type: F32, Dims: []uint64{1}}}},
		"name long":       {nil, []Tensor{{Name: strings.Repeat("n", 64), Type: F32, Dims: []uint64{1}}}},
		"part of a block": {nil, []Tensor{{Name: "a", Type: Q4_0, Dims: []uint64{172, 64}}}},
		"no dimensions":   {nil, []Tensor{{Name: "a", Type: F32}}},
		"unknown type":    {nil, []Tensor{{Name: "a", Type: 31, Dims: []uint64{32}}}},
	} {
		if _, err := NewLayout(c.kvs, c.tensors); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A failing disk or source stops the writer.
func TestWriteErrors(t *testing.T) {
	l, err := NewLayout(nil, []Tensor{{Name: "a", Type: F32, Dims: []uint64{1 << 19, 4}}})
	if err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	fine := func([]byte, int, int) error { return nil }
	if err := l.Write(failing{boom}, fine); !errors.Is(err, boom) {
		t.Errorf("a failing disk: %v", err)
	}
	if err := l.Write(&bytes.Buffer{}, func([]byte, int, int) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("a failing source: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// Files that llama.cpp made.
func TestForeignFiles(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "tok")
	for _, name := range []string{"ggml-vocab-llama-spm.gguf", "ggml-vocab-gpt-2.gguf", "ggml-vocab-phi-3.gguf"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Skipf("needs %s", filepath.Join(dir, name))
		}
		f, err := read(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if tokens, _ := f.Value("tokenizer.ggml.tokens"); len(tokens.([]string)) < 32000 {
			t.Errorf("%s: tokens %.80v", name, tokens)
		}
	}
}

// FuzzRead: nothing panics, and what is accepted can be written again and reads
// the same.
func FuzzRead(f *testing.F) {
	data := tiny(f)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte("GGUF\x03\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := read(data)
		if err != nil {
			return
		}
		for _, ten := range file.Tensors {
			if ten.Offset < 0 || ten.Size < 0 || ten.Offset+ten.Size > int64(len(data)) {
				t.Fatalf("%+v lies outside of %d bytes", ten, len(data))
			}
			if ten.Type.Decodable() {
				if err := file.Rows(ten, func(int, []float32) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
		}
		l, err := NewLayout(file.KVs, file.Tensors)
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range file.KVs {
			if kv.Key == "general.alignment" {
				return // written with the default
			}
		}
		again, err := read(append(l.Header, make([]byte, l.Size-int64(len(l.Header)))...))
		if err != nil {
			t.Fatal(err)
		}
		h, err := NewLayout(again.KVs, again.Tensors)
		if err != nil || !bytes.Equal(h.Header, l.Header) {
			t.Fatalf("written again it differs (%v)", err)
		}
	})
}
