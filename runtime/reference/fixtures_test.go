package reference

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nibble/model/arch"
)

// fixtures holds tiny models of many families with logits that other programs
// agree on.
const fixtures = "../../../shared/data/arch"

type expectation struct {
	IDs       []int       `json:"ids"`
	Positions []int       `json:"positions"`
	Logits    [][]float64 `json:"logits"`
	Std       float64     `json:"logits_std"`
}

// Every description, read plainly, gives the known logits.
func TestFixtures(t *testing.T) {
	configs, _ := filepath.Glob(filepath.Join(fixtures, "*", "config.json"))
	if len(configs) == 0 {
		t.Skip("no fixtures in " + fixtures)
	}
	for _, config := range configs {
		dir := filepath.Dir(config)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(filepath.Base(dir), "int4_") {
				t.Skip("its weights are quantized")
			}
			data, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			files := open(t, dir)
			m, err := arch.Read(data, files.has)
			if err != nil {
				t.Fatal(err)
			}
			var want expectation
			text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
			if err == nil {
				err = json.Unmarshal(text, &want)
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := Logits(m, files.tensor, want.IDs)
			if err != nil {
				t.Fatal(err)
			}
			worst := 0.0
			for i, p := range want.Positions {
				for j, w := range want.Logits[i] {
					worst = max(worst, math.Abs(got[p][j]-w))
				}
			}
			if worst/want.Std > 2e-5 || math.IsNaN(worst) {
				t.Errorf("off by %.2g of the logits' deviation", worst/want.Std)
			}
		})
	}
}

// safetensors is the least reader of that format.
type safetensors map[string]struct {
	dtype string
	shape []int
	data  []byte
}

func open(t *testing.T, dir string) safetensors {
	t.Helper()
	all := safetensors{}
	names, _ := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		n := 8 + int(binary.LittleEndian.Uint64(b))
		var header map[string]struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		raw := map[string]json.RawMessage{}
		if err := json.Unmarshal(b[8:n], &raw); err != nil {
			t.Fatal(err)
		}
		delete(raw, "__metadata__")
		text, _ := json.Marshal(raw)
		if err := json.Unmarshal(text, &header); err != nil {
			t.Fatal(err)
		}
		for k, h := range header {
			all[k] = struct {
				dtype string
				shape []int
				data  []byte
			}{h.DType, h.Shape, b[n+h.Offsets[0] : n+h.Offsets[1]]}
		}
	}
	return all
}

func (s safetensors) has(name string) bool { _, ok := s[name]; return ok }

func (s safetensors) tensor(name string) ([]int, []float64, error) {
	x, ok := s[name]
	if !ok {
		if blocks, ok := s[name+"_blocks"]; ok {
			return mxfp4(blocks.shape, blocks.data, s[name+"_scales"].data)
		}
		return nil, nil, fmt.Errorf("no tensor %s", name)
	}
	var out []float64
	switch x.dtype {
	case "F32":
		for b := x.data; len(b) > 0; b = b[4:] {
			out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
		}
	case "BF16":
		for b := x.data; len(b) > 0; b = b[2:] {
			out = append(out, float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b))<<16)))
		}
	case "F16":
		for b := x.data; len(b) > 0; b = b[2:] {
			out = append(out, half(binary.LittleEndian.Uint16(b)))
		}
	default:
		return nil, nil, fmt.Errorf("tensor %s is %s", name, x.dtype)
	}
	return x.shape, out, nil
}

func half(h uint16) float64 {
	sign, exponent, fraction := 1-2*float64(h>>15), int(h>>10&31), float64(h&1023)
	if exponent == 0 {
		return sign * math.Ldexp(fraction, -24)
	}
	return sign * math.Ldexp(1024+fraction, exponent-25)
}

// mxfp4 decodes stacks of blocks of 32 values of 4 bits with a common exponent.
func mxfp4(shape []int, blocks, scales []byte) ([]int, []float64, error) {
	values := []float64{0, .5, 1, 1.5, 2, 3, 4, 6, 0, -.5, -1, -1.5, -2, -3, -4, -6}
	var out []float64
	for i, s := range scales {
		for _, b := range blocks[16*i : 16*(i+1)] {
			out = append(out, math.Ldexp(values[b&15], int(s)-127), math.Ldexp(values[b>>4], int(s)-127))
		}
	}
	return []int{shape[0], shape[1], shape[2] * 32}, out, nil
}
