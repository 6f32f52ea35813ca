package gguf

import (
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The values of blocks of every byte, by their bits: sums (FNV-1a) of what the PyPI
// package gguf 0.19, made from the same files as ggml, gives for the same blocks.
var blockSums = map[string]uint64{
	"Q4_0": 0x4089fe4707f3670a, "Q4_1": 0xe2a70b54a040e47a, "Q5_0": 0x30023d8c29611750, "Q5_1": 0x5701e6ffbda88e47, "Q8_0": 0x53e9964e47f4093d,
	"Q2_K": 0xd88f8936303d46b4, "Q3_K": 0x830c1c49aefd4dd7, "Q4_K": 0xfd92a90ca3a88163, "Q5_K": 0x245998d9269c2972, "Q6_K": 0x1b91af18aeb82702,
	"IQ4_NL": 0xd841bbf3a85eaf48, "IQ4_XS": 0xdd25ae2348ab0a15, "TQ1_0": 0x765848b4beb7f543, "TQ2_0": 0xa3d1e67bebbb6d6e,
	"MXFP4": 0xf5bf60af5a0d2509, "NVFP4": 0x5804066ef8e15351,
}

// pseudoBlocks are blocks in which no F16, wherever it may lie, is an infinity or no
// number: one bit of each byte is clear, in every other block another.
func pseudoBlocks(n, size int) []byte {
	out, x := make([]byte, n*size), uint64(1)
	for i := range out {
		x = x*6364136223846793005 + 1442695040888963407
		out[i] = byte(x>>56) & [2]byte{0xbf, 0xfb}[i/size%2]
	}
	return out
}

func TestBlockTypes(t *testing.T) {
	const n = 40
	found := 0
	for typ, tr := range knownTypes {
		want, ok := blockSums[tr.name]
		if !ok {
			if tr.values > 1 && typ.Decodable() && tr.name != "Q8_K" {
				t.Errorf("%s is not compared with anything", typ)
			}
			continue
		}
		found++
		values := make([]float32, n*typ.Block())
		if err := DecodeRow(values, pseudoBlocks(n, tr.bytes), typ); err != nil {
			t.Fatal(err)
		}
		sum := fnv.New64a()
		for _, v := range values {
			sum.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v+0))) // of -0 as well
		}
		if got := sum.Sum64(); got != want {
			t.Errorf("%s: the values are others: %#x, want %#x", typ, got, want)
		}
	}
	if found != len(blockSums) {
		t.Errorf("%d of %d types are known", found, len(blockSums))
	}
}

// Q8_K, of which files hold intermediate results: F32 d and signed bytes.
func TestQ8_K(t *testing.T) {
	raw := pseudoBlocks(1, 292)
	binary.LittleEndian.PutUint32(raw, math.Float32bits(0.5))
	got := make([]float32, 256)
	if err := DecodeRow(got, raw, 15); err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if want := float32(int8(raw[4+i])) / 2; v != want {
			t.Fatalf("value %d is %g, want %g", i, v, want)
		}
	}
}

// Files of every type have the known sums of values and of squares.
func TestFileTypes(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/data/arch/gguf_types_*/*.gguf")
	if len(files) == 0 {
		t.Skip("the files are not part of the project")
	}
	for _, path := range files {
		var all map[string]json.RawMessage
		var want map[string][3]any // type, sum, sum of squares
		data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "expected.json"))
		if err == nil {
			err = json.Unmarshal(data, &all)
		}
		for key, part := range all {
			if err == nil && strings.HasPrefix(key, "tensors") {
				err = json.Unmarshal(part, &want)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		info, err := in.Stat()
		if err != nil {
			t.Fatal(err)
		}
		f, err := Read(in, info.Size())
		if err != nil {
			t.Fatal(err)
		}
		if len(want) == 0 {
			t.Fatalf("%s: no sums are known", path)
		}
		for _, x := range f.Tensors {
			w, ok := want[x.Name]
			if !ok {
				continue
			}
			var sum, squares float64
			if err := f.Rows(x, func(_ int, values []float32) error {
				for _, v := range values {
					sum, squares = sum+float64(v), squares+float64(v)*float64(v)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if x.Type.String() != w[0] || math.Abs(sum-w[1].(float64)) > 1e-5*squares || math.Abs(squares-w[2].(float64)) > 1e-5*squares {
				t.Errorf("%s is %s with sums %.6g and %.6g, want %v", x.Name, x.Type, sum, squares, w)
			}
			delete(want, x.Name)
		}
		if len(want) > 0 {
			t.Errorf("%s: %d tensors are not there", path, len(want))
		}
	}
}
