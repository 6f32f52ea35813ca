package model

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nibble/kernels"
)

// packs builds the tensors of one matrix, from the definitions of the layouts.
type packs struct {
	rows, cols, group, bits int
	code, zero              func(r, c int) int // zero is of a group
	scale                   func(r, g int) float32
	tensors                 map[string]stored
}

func newPacks(seed uint64, rows, cols, group, bits int) *packs {
	rng := rand.New(rand.NewPCG(seed, 5))
	p := &packs{rows: rows, cols: cols, group: group, bits: bits, tensors: map[string]stored{}}
	codes, zeros, scales := make([]int, rows*cols), make([]int, rows*cols), make([]float32, rows*cols)
	for i := range codes {
		codes[i], zeros[i] = rng.IntN(1<<bits), 1+rng.IntN(1<<bits-1)
		scales[i] = kernels.F16ToF32(kernels.F32ToF16(float32(rng.NormFloat64()) / 16))
	}
	p.code = func(r, c int) int { return codes[r*cols+c] }
	p.zero = func(r, g int) int { return zeros[r*cols+g] }
	p.scale = func(r, g int) float32 { return scales[r*cols+g] }
	return p
}

func (p *packs) groups() int { return (p.cols + p.group - 1) / p.group }

func (p *packs) symmetric() *packs {
	p.zero = func(int, int) int { return 1 << (p.bits - 1) }
	return p
}

// stream packs n numbers of some bits into 32-bit words, lowest first.
func stream(n, bits int, at func(i int) int) []uint32 {
	out := make([]uint32, (n*bits+31)/32)
	for i := range n {
		for b := range bits {
			out[(i*bits+b)/32] |= uint32(at(i)>>b&1) << ((i*bits + b) % 32)
		}
	}
	return out
}

func (p *packs) words(name, dtype string, rows, cols int, at func(r, c int) uint32) {
	var data []byte
	for r := range rows {
		for c := range cols {
			data = binary.LittleEndian.AppendUint32(data, at(r, c))
		}
	}
	p.tensors["m"+name] = stored{dtype: dtype, shape: []int{rows, cols}, data: data}
}

func (p *packs) floats(name string, as kernels.DType, shape []int, at func(i int) float32) {
	n := 1
	for _, d := range shape {
		n *= d
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = at(i)
	}
	data := make([]byte, n*as.Size())
	kernels.EncodeFloats(data, values, as)
	p.tensors["m"+name] = stored{dtype: as.String(), shape: shape, data: data}
}

func (p *packs) bytes(name, dtype string, shape []int, data []byte) {
	p.tensors["m"+name] = stored{dtype: dtype, shape: shape, data: data}
}

// gptq writes GPTQ's layout; stored zero points are less by an offset.
func (p *packs) gptq(offset int, index func(c int) int) {
	columns := make([][]uint32, p.rows)
	for r := range columns {
		columns[r] = stream(p.cols, p.bits, func(c int) int { return p.code(r, c) })
	}
	p.words(".qweight", "I32", len(columns[0]), p.rows, func(i, r int) uint32 { return columns[r][i] })
	zeros := make([][]uint32, p.groups())
	for g := range zeros {
		zeros[g] = stream(p.rows, p.bits, func(r int) int { return p.zero(r, g) - offset })
	}
	p.words(".qzeros", "I32", len(zeros), len(zeros[0]), func(g, i int) uint32 { return zeros[g][i] })
	p.floats(".scales", kernels.F16, []int{p.groups(), p.rows}, func(i int) float32 { return p.scale(i%p.rows, i/p.rows) })
	var order []byte
	for c := range p.cols {
		order = binary.LittleEndian.AppendUint32(order, uint32(index(c)))
	}
	p.bytes(".g_idx", "I32", []int{p.cols}, order)
}

func (p *packs) inOrder(c int) int { return c / p.group }

// awq writes AWQ's GEMM layout.
func (p *packs) awq() {
	order := []int{0, 2, 4, 6, 1, 3, 5, 7}
	word := func(at func(r int) int, i int) (w uint32) {
		for k, o := range order {
			w |= uint32(at(8*i+o)) << (4 * k)
		}
		return w
	}
	p.words(".qweight", "I32", p.cols, p.rows/8, func(c, i int) uint32 { return word(func(r int) int { return p.code(r, c) }, i) })
	p.words(".qzeros", "I32", p.groups(), p.rows/8, func(g, i int) uint32 { return word(func(r int) int { return p.zero(r, g) }, i) })
	p.floats(".scales", kernels.F16, []int{p.groups(), p.rows}, func(i int) float32 { return p.scale(i%p.rows, i/p.rows) })
}

// gemv writes AWQ's GEMV layout, whose zero points and scales are padded.
func (p *packs) gemv() {
	const width = 4
	row := func(r int) []uint32 { return stream(p.cols, 4, func(c int) int { return p.code(r, c) }) }
	p.words(".qweight", "I32", p.rows, p.cols/8, func(r, i int) uint32 { return row(r)[i] })
	p.words(".qzeros", "I32", p.rows, width, func(r, i int) uint32 {
		return append(stream(p.groups(), 4, func(g int) int { return p.zero(r, g) }), make([]uint32, width)...)[i]
	})
	p.floats(".scales", kernels.F16, []int{p.rows, 8 * width}, func(i int) float32 {
		if g := i % (8 * width); g < p.groups() {
			return p.scale(i/(8*width), g)
		}
		return 0
	})
}

// mlx writes MLX's layout, with biases that are whole numbers of scales or not.
func (p *packs) mlx(bias func(r, g int) float32) {
	row := func(r int) []uint32 { return stream(p.cols, p.bits, func(c int) int { return p.code(r, c) }) }
	n := p.groups()
	p.words(".weight", "U32", p.rows, p.cols*p.bits/32, func(r, i int) uint32 { return row(r)[i] })
	p.floats(".scales", kernels.F16, []int{p.rows, n}, func(i int) float32 { return p.scale(i/n, i%n) })
	p.floats(".biases", kernels.F16, []int{p.rows, n}, func(i int) float32 { return bias(i/n, i%n) })
}

// Every layout gives the values of its definition, in codes of the kernels where they hold
// them, and in floats where not, with the reason.
func TestLayouts(t *testing.T) {
	integers := func(p *packs, r, c int) float32 {
		return float32(p.code(r, c)-p.zero(r, c/p.group)) * p.scale(r, c/p.group)
	}
	quantized := func(method, rest string) quantConfig {
		qc, err := parseQuantConfig(json.RawMessage(fmt.Sprintf(`{"quant_method": %q%s}`, method, rest)))
		if err != nil {
			t.Fatal(err)
		}
		return qc
	}
	tensors := func(weights, format string) quantConfig {
		return quantized("compressed-tensors", fmt.Sprintf(`, "format": %q, "config_groups": {"g": {"targets": ["Linear"], "weights": %s}}`, format, weights))
	}
	for name, c := range map[string]struct {
		p      *packs
		config quantConfig
		write  func(p *packs)
		want   func(p *packs, r, c int) float32 // nil: integers
		scheme string                           // "" for floats,
		why    string                           // and why
	}{
		"GPTQ v1": {newPacks(1, 16, 64, 32, 4).symmetric(), quantized("gptq", `, "bits": 4, "group_size": 32`), func(p *packs) { p.gptq(1, p.inOrder) }, nil, "w4 g32 sym", ""},
		"GPTQ v2": {newPacks(2, 16, 64, 32, 4), quantized("gptq", `, "checkpoint_format": "gptq_v2", "group_size": 32`), func(p *packs) { p.gptq(0, p.inOrder) }, nil, "w4 g32 asym", ""},
		"GPTQ v1, zero points of 16": {func() *packs {
			p := newPacks(3, 16, 64, 32, 4)
			p.zero = func(r, g int) int { return 16 - g }
			return p
		}(), quantized("gptq", ""), func(p *packs) { p.gptq(1, p.inOrder) }, nil, "w8 g32 asym", ""},
		"GPTQ of 2 bits":  {newPacks(4, 16, 64, 32, 2).symmetric(), quantized("gptq", ""), func(p *packs) { p.gptq(1, p.inOrder) }, nil, "w4 g32 sym", ""},
		"GPTQ of 3 bits":  {newPacks(5, 32, 96, 32, 3), quantized("gptq", `, "checkpoint_format": "gptq_v2"`), func(p *packs) { p.gptq(0, p.inOrder) }, nil, "w4 g32 asym", ""},
		"GPTQ of 8 bits":  {newPacks(6, 16, 128, 128, 8).symmetric(), quantized("gptq", `, "group_size": 128`), func(p *packs) { p.gptq(1, p.inOrder) }, nil, "w8 channel sym", ""},
		"GPTQ of 256":     {newPacks(7, 8, 512, 256, 4).symmetric(), quantized("gptq", `, "group_size": 256`), func(p *packs) { p.gptq(1, p.inOrder) }, nil, "w4 g128 sym", ""},
		"GPTQ, a channel": {newPacks(8, 8, 96, 96, 4).symmetric(), quantized("gptq", `, "group_size": -1`), func(p *packs) { p.gptq(1, p.inOrder) }, nil, "w4 channel sym", ""},
		"GPTQ by act order": {newPacks(9, 16, 64, 32, 4), quantized("gptq", `, "desc_act": true`), func(p *packs) { p.gptq(1, func(c int) int { return c * 7 % 64 / 32 }) }, func(p *packs, r, c int) float32 {
			return float32(p.code(r, c)-p.zero(r, c*7%64/32)) * p.scale(r, c*7%64/32)
		}, "", "activation ordering"},
		"groups of 16":           {newPacks(10, 16, 64, 16, 4), quantized("gptq", ""), func(p *packs) { p.gptq(1, p.inOrder) }, nil, "", "groups of 16"},
		"AWQ":                    {newPacks(11, 16, 96, 32, 4), quantized("awq", `, "version": "gemm", "group_size": 32`), (*packs).awq, nil, "w4 g32 asym", ""},
		"AWQ, GEMV":              {newPacks(12, 16, 96, 32, 4), quantized("awq", `, "version": "GEMV", "group_size": 32`), (*packs).gemv, nil, "w4 g32 asym", ""},
		"AutoRound":              {newPacks(13, 16, 64, 32, 4).symmetric(), quantized("auto-round", `, "packing_format": "auto_round:auto_gptq"`), func(p *packs) { p.gptq(1, p.inOrder) }, nil, "w4 g32 sym", ""},
		"AutoRound, true zeros":  {newPacks(14, 16, 64, 32, 4), quantized("intel/auto-round", `, "packing_format": "auto_round"`), func(p *packs) { p.gptq(0, p.inOrder) }, nil, "w4 g32 asym", ""},
		"AutoRound, less by one": {newPacks(15, 16, 64, 32, 4).symmetric(), quantized("auto-round", `, "packing_format": "auto_round:gptqmodel"`), func(p *packs) { p.gptq(1, p.inOrder) }, nil, "w4 g32 sym", ""},
		"AutoRound as AWQ":       {newPacks(16, 16, 64, 32, 4), quantized("auto-round", `, "packing_format": "auto_round:auto_awq"`), (*packs).awq, nil, "w4 g32 asym", ""},
		"MLX": {newPacks(17, 16, 128, 64, 4), quantized("", `, "bits": 4, "group_size": 64`), func(p *packs) { p.mlx(func(r, g int) float32 { return float32(r) / 4 }) },
			func(p *packs, r, c int) float32 {
				return float32(p.code(r, c))*p.scale(r, c/64) + float32(r)/4
			}, "q4_1 g32", ""},
		"MLX, whole biases": {newPacks(18, 16, 64, 32, 4), quantized("", `, "bits": 4, "group_size": 32`), func(p *packs) {
			s := p.scale
			p.scale = func(r, g int) float32 { return float32(math.Ldexp(1, int(s(r, g)*64))) } // which products keep
			p.mlx(func(r, g int) float32 { return -float32(p.zero(r, g)) * p.scale(r, g) })
		}, nil, "w4 g32 asym", ""},
		"MLX of 6 bits": {newPacks(19, 16, 64, 32, 6), quantized("", `, "bits": 6`), func(p *packs) { p.mlx(func(r, g int) float32 { return 0.25 }) },
			func(p *packs, r, c int) float32 { return float32(p.code(r, c))*p.scale(r, c/32) + 0.25 }, "", "least values"},
		"integers in bytes": {newPacks(20, 16, 64, 64, 8).symmetric(), tensors(`{"num_bits": 8, "symmetric": true, "strategy": "channel"}`, "int-quantized"), func(p *packs) {
			var data []byte
			for i := range p.rows * p.cols {
				data = append(data, byte(p.code(i/p.cols, i%p.cols)-128))
			}
			p.bytes(".weight", "I8", []int{p.rows, p.cols}, data)
			p.floats(".weight_scale", kernels.F16, []int{p.rows, 1}, func(r int) float32 { return p.scale(r, 0) })
		}, nil, "w8 channel sym", ""},
		"MXFP4": {newPacks(21, 8, 64, 32, 4), tensors(`{"num_bits": 4, "type": "float", "symmetric": true, "strategy": "group", "group_size": 32}`, "mxfp4-pack-quantized"), func(p *packs) {
			var data, scales []byte
			for i := 0; i < p.rows*p.cols; i += 2 {
				data = append(data, byte(p.code(i/p.cols, i%p.cols)|p.code(i/p.cols, i%p.cols+1)<<4))
			}
			for i := range p.rows * p.groups() {
				scales = append(scales, byte(120+i))
			}
			p.bytes(".weight_packed", "U8", []int{p.rows, p.cols / 2}, data)
			p.bytes(".weight_scale", "U8", []int{p.rows, p.groups()}, scales)
		}, func(p *packs, r, c int) float32 {
			e2m1 := []float64{0, .5, 1, 1.5, 2, 3, 4, 6, 0, -.5, -1, -1.5, -2, -3, -4, -6}
			return float32(math.Ldexp(e2m1[p.code(r, c)], 120+r*2+c/32-127))
		}, "mxfp4 g32", ""},
		"nf4, quantized twice": {newPacks(22, 4, 128, 64, 4), quantized("bitsandbytes", `, "load_in_4bit": true`), func(p *packs) {
			var data []byte
			for i := 0; i < p.rows*p.cols; i += 2 {
				data = append(data, byte(p.code(i/p.cols, i%p.cols)<<4|p.code(i/p.cols, i%p.cols+1)))
			}
			p.bytes(".weight", "U8", []int{len(data), 1}, data)
			p.bytes(".weight.absmax", "U8", []int{8}, []byte{0, 1, 2, 3, 4, 5, 6, 255})
			p.floats(".weight.quant_map", kernels.F32, []int{16}, func(i int) float32 { return float32(i*i)/100 - 1 })
			p.floats(".weight.nested_absmax", kernels.F32, []int{1}, func(int) float32 { return 0.5 })
			p.floats(".weight.nested_quant_map", kernels.F32, []int{256}, func(i int) float32 { return float32(i) / 256 })
			p.bytes(".weight.quant_state.bitsandbytes__nf4", "U8", []int{1}, []byte(`{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [4, 128], "nested_blocksize": 256, "nested_offset": 0.25}`))
		}, func(p *packs, r, c int) float32 {
			block := float64(r*2 + c/64)
			if block == 7 {
				block = 255
			}
			k := p.code(r, c)
			return float32((float32(k*k)/100 - 1) * float32(block/256*0.5+0.25))
		}, "", "table of values"},
		"scales of 32 bits": {newPacks(23, 16, 64, 32, 4).symmetric(), tensors(`{"num_bits": 4, "symmetric": true, "strategy": "group", "group_size": 32}`, "pack-quantized"), func(p *packs) {
			p.scale = func(r, g int) float32 { return 0.1 + float32(r) }
			row := func(r int) []uint32 { return stream(p.cols, 4, func(c int) int { return p.code(r, c) }) }
			p.words(".weight_packed", "I32", p.rows, p.cols/8, func(r, i int) uint32 { return row(r)[i] })
			p.floats(".weight_scale", kernels.F32, []int{p.rows, 2}, func(i int) float32 { return p.scale(i/2, i%2) })
		}, nil, "", "no exact F16 value"},
	} {
		t.Run(name, func(t *testing.T) {
			c.write(c.p)
			ck := &Checkpoint{tensors: c.p.tensors, schemes: c.config}
			m := Module{Name: "m", Kind: "q", Rows: c.p.rows, Cols: c.p.cols}
			l := ck.layoutOf(m)
			if l == nil {
				t.Fatal("no layout")
			}
			k, why, err := ck.codesOf(m, l)
			if err != nil {
				t.Fatal(err)
			}
			scheme := ""
			if k.quant != nil {
				scheme = k.scheme.String()
			}
			if scheme != c.scheme || !strings.Contains(why, c.why) || (why == "") != (scheme != "") {
				t.Errorf("%q (%s), want %q (%s)", scheme, why, c.scheme, c.why)
			}
			x, err := decoded("m.weight", k)
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want == nil {
				want = integers
			}
			for i, v := range x.Floats() {
				if w := want(c.p, i/c.p.cols, i%c.p.cols); v != w {
					t.Fatalf("row %d, column %d is %g, want %g", i/c.p.cols, i%c.p.cols, v, w)
				}
			}
			// What is cut, or of another shape, is refused.
			for tensor, s := range c.p.tensors {
				if strings.Contains(tensor, "quant_state") {
					continue
				}
				short := slices.Clone(s.shape)
				short[0]++
				ck.tensors[tensor] = stored{dtype: s.dtype, shape: short, data: append(slices.Clone(s.data), make([]byte, len(s.data)/s.shape[0])...)}
				if _, _, err := ck.codesOf(m, l); err == nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
					t.Errorf("%s of %v is taken: %v", tensor, short, err)
				}
				ck.tensors[tensor] = s
			}
		})
	}
}

// Whatever a file says of its tensors, a matrix in codes is read or refused.
func FuzzLayouts(f *testing.F) {
	f.Add(uint8(0), uint8(16), uint8(64), uint8(8), uint8(16), uint8(2), []byte(`{"quant_method": "gptq", "bits": 4}`))
	f.Add(uint8(1), uint8(4), uint8(128), uint8(0), uint8(1), uint8(8), []byte(`{"quant_method": "bitsandbytes", "load_in_4bit": true}`))
	f.Add(uint8(2), uint8(16), uint8(64), uint8(16), uint8(8), uint8(2), []byte(`{"bits": 4, "group_size": 32}`))
	f.Add(uint8(3), uint8(16), uint8(64), uint8(16), uint8(8), uint8(2),
		[]byte(`{"quant_method": "compressed-tensors", "config_groups": {"g": {"targets": ["Linear"], "weights": {"num_bits": 3, "strategy": "group", "group_size": 16}}}}`))
	f.Fuzz(func(t *testing.T, which, rows, cols, a, b, c uint8, config []byte) {
		qc, err := parseQuantConfig(config)
		if err != nil || rows == 0 || cols == 0 {
			return
		}
		l := layouts[int(which)%len(layouts)]
		ck, m := &Checkpoint{tensors: map[string]stored{}, schemes: qc}, Module{Name: "m", Kind: "q", Rows: int(rows), Cols: int(cols)}
		put := func(suffix, dtype string, shape ...int) {
			n, _ := byteSize(shape, dtypeSizes[dtype])
			data := make([]byte, n)
			for i := range data {
				data[i] = byte(i*7) & 0x3f
			}
			ck.tensors["m"+suffix] = stored{dtype: dtype, shape: shape, data: data}
		}
		for i, suffix := range append(slices.Clone(l.marks), l.more...) {
			dtype := []string{"I32", "U32", "F16", "F32", "U8", "I8", "F8_E4M3"}[(int(a)+i)%7]
			switch suffix {
			case ".qweight", ".qzeros":
				put(suffix, "I32", int(a), int(b))
			case ".scales", ".biases", ".weight_scale":
				put(suffix, "F16", int(c), int(rows))
			case ".g_idx", ".weight_g_idx":
				put(suffix, "I32", int(cols))
			default:
				put(suffix, dtype, int(a), int(b))
			}
		}
		k, _, err := ck.codesOf(m, &l)
		if err != nil {
			return
		}
		x, err := decoded("m.weight", k)
		if err != nil || x.Len() != m.Rows*m.Cols {
			t.Errorf("%d values of %d x %d (%v)", x.Len(), m.Rows, m.Cols, err)
		}
	})
}
