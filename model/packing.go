package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"nibble/kernels"
)

// ErrPacking reports codes that a packing has no place for.
var ErrPacking = errors.New("the layout cannot hold these codes")

// Packing is how a directory stores matrices in codes.
type Packing struct {
	Name string // of the layout
	// Check says why a matrix's codes have no place. Layers alone have one, except in
	// compressed-tensors as nibble reads it.
	Check   func(m Module, s kernels.Scheme) error
	tensors func(rows, cols int, s kernels.Scheme) []packedTensor
	config  func(modules []Module, schemes map[string]kernels.Scheme) any
}

// packedTensor is one of those that a matrix in codes is stored as.
type packedTensor struct {
	suffix, dtype string
	shape         []int
	data          func(q *kernels.QTensor) []byte
}

// packQuantized is compressed-tensors' form, with what nibble adds to it.
var packQuantized = Packing{
	Name: "compressed-tensors",
	tensors: func(rows, cols int, s kernels.Scheme) []packedTensor {
		per, groups := 32/s.Bits, s.Groups(cols)
		all := []packedTensor{
			{".weight_packed", "I32", []int{rows, (cols + per - 1) / per}, func(q *kernels.QTensor) []byte { return q.Codes }},
			{".weight_scale", s.ScaleType().String(), []int{rows, groups}, func(q *kernels.QTensor) []byte { return halfBytes(q.Scales) }},
		}
		if !s.Sym {
			all = append(all, packedTensor{".weight_zero_point", "I32", []int{(rows + per - 1) / per, groups},
				func(q *kernels.QTensor) []byte { return packZeros(q.Zeros, q.Rows, q.Groups(), q.Scheme.Bits) }})
		}
		if n := s.TopCount(rows); n > 0 {
			all = append(all, packedTensor{topPacked, "I32", []int{n, (cols + per - 1) / per}, func(q *kernels.QTensor) []byte { return q.TopCodes }},
				packedTensor{topRows, "I32", []int{n}, func(q *kernels.QTensor) (rows []byte) {
					for _, r := range q.TopRows {
						rows = binary.LittleEndian.AppendUint32(rows, uint32(r))
					}
					return rows
				}})
		}
		return append(all, packedTensor{".weight_shape", "I64", []int{2}, func(q *kernels.QTensor) []byte {
			return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(q.Rows)), uint64(q.Cols))
		}})
	},
	config: func(modules []Module, schemes map[string]kernels.Scheme) any { return newQuantConfig(modules, schemes) },
}

// CompressedTensors is the form of compressed-tensors that transformers and vLLM read.
func CompressedTensors() Packing {
	p := packQuantized
	p.Check = func(m Module, s kernels.Scheme) error { return checkEven(m, s, 4, 8) }
	return p
}

// GPTQ is GPTQ's layout. Version 1, which every reader has, stores zero points less by one:
// it is for symmetric matrices, and 2 has room for every zero point.
func GPTQ(version int) Packing {
	p := Packing{Name: "gptq"}
	p.config = func(modules []Module, schemes map[string]kernels.Scheme) any {
		config := gptqConfig(modules, schemes)
		if config["checkpoint_format"] = "gptq"; version == 2 {
			config["checkpoint_format"] = "gptq_v2"
		}
		return config
	}
	p.Check = func(m Module, s kernels.Scheme) error {
		if per := 32 / s.Bits; m.Rows%per != 0 || m.Cols%per != 0 || m.Cols%s.GroupWidth(m.Cols) != 0 {
			return fmt.Errorf("%s: %w: %d x %d weights are no whole words of %d codes, or no whole groups", m.Name, ErrPacking, m.Rows, m.Cols, per)
		}
		return checkEven(m, s, 4, 8)
	}
	p.tensors = func(rows, cols int, s kernels.Scheme) []packedTensor {
		per, groups := 32/s.Bits, s.Groups(cols)
		return []packedTensor{
			{".qweight", "I32", []int{cols / per, rows}, func(q *kernels.QTensor) []byte {
				out := make([]byte, len(q.Codes))
				for r := range q.Rows {
					for i := range cols / per { // a word of a row
						copy(out[4*(i*q.Rows+r):], q.Codes[r*q.RowBytes()+4*i:][:4])
					}
				}
				return out
			}},
			{".qzeros", "I32", []int{groups, rows / per}, func(q *kernels.QTensor) []byte {
				out := make([]byte, 4*groups*rows/per)
				for r := range q.Rows {
					for g := range groups {
						z := int(q.Zero(r, g)) - (2 - version)
						orField(out[4*(g*rows/per+r/per):], r%per*q.Scheme.Bits, z)
					}
				}
				return out
			}},
			{".scales", "F16", []int{groups, rows}, transposedScales},
			{".g_idx", "I32", []int{cols}, func(q *kernels.QTensor) (index []byte) {
				for c := range q.Cols {
					index = binary.LittleEndian.AppendUint32(index, uint32(c/q.Scheme.GroupWidth(q.Cols)))
				}
				return index
			}},
		}
	}
	return p
}

// AWQ is AWQ's GEMM layout, whose matrices all have groups of one size: longer ones repeat
// their scale.
func AWQ(group int) Packing {
	p := Packing{Name: "awq"}
	p.Check = func(m Module, s kernels.Scheme) error {
		if m.Rows%8 != 0 || m.Cols%group != 0 || s.GroupWidth(m.Cols)%group != 0 {
			return fmt.Errorf("%s: %w: %d x %d weights in %s are no whole words of 8 rows and groups of %d", m.Name, ErrPacking, m.Rows, m.Cols, s, group)
		}
		return checkEven(m, s, 4)
	}
	p.config = func(modules []Module, schemes map[string]kernels.Scheme) any {
		kept := []string{}
		for _, m := range modules {
			if _, ok := schemes[m.Name]; !ok {
				kept = append(kept, m.Name)
			}
		}
		return map[string]any{"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm", "zero_point": true, "modules_to_not_convert": kept}
	}
	// words packs a number of each of eight rows that follow each other.
	words := func(out []byte, rows, r, line, v int) {
		orField(out[4*(line*rows/8+r/8):], 4*awqPlace[r%8], v)
	}
	p.tensors = func(rows, cols int, _ kernels.Scheme) []packedTensor {
		groups := cols / group
		return []packedTensor{
			{".qweight", "I32", []int{cols, rows / 8}, func(q *kernels.QTensor) []byte {
				out := make([]byte, cols*rows/2)
				for r := range rows {
					for c := range cols {
						words(out, rows, r, c, int(q.Code(r, c)))
					}
				}
				return out
			}},
			{".qzeros", "I32", []int{groups, rows / 8}, func(q *kernels.QTensor) []byte {
				out := make([]byte, groups*rows/2)
				for r := range rows {
					for g := range groups {
						words(out, rows, r, g, int(q.Zero(r, g*group/q.Scheme.GroupWidth(cols))))
					}
				}
				return out
			}},
			{".scales", "F16", []int{groups, rows}, func(q *kernels.QTensor) []byte {
				out := make([]byte, 2*groups*rows)
				for g := range groups {
					for r := range rows {
						binary.LittleEndian.PutUint16(out[2*(g*rows+r):], q.Scales[r*q.Groups()+g*group/q.Scheme.GroupWidth(cols)])
					}
				}
				return out
			}},
		}
	}
	return p
}

// checkEven refuses codes that are no even steps of some bits.
func checkEven(m Module, s kernels.Scheme, bits ...int) error {
	if s.Table != kernels.Even || s.Mins || s.Super || s.Top > 0 || !slices.Contains(bits, s.Bits) {
		return fmt.Errorf("%s: %w: they are %s, and it has even steps of %v bits: GGUF is nearest", m.Name, ErrPacking, s, bits)
	}
	return nil
}

func orField(word []byte, shift, v int) {
	binary.LittleEndian.PutUint32(word, binary.LittleEndian.Uint32(word)|uint32(v)<<shift)
}

func halfBytes(values []uint16) []byte {
	out := make([]byte, 2*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint16(out[2*i:], v)
	}
	return out
}

// transposedScales are groups x rows.
func transposedScales(q *kernels.QTensor) []byte {
	n := q.Groups()
	out := make([]byte, 2*len(q.Scales))
	for i, s := range q.Scales {
		binary.LittleEndian.PutUint16(out[2*(i%n*q.Rows+i/n):], s)
	}
	return out
}

// gptqConfig describes the form that most matrices have, and the others one by one.
func gptqConfig(modules []Module, schemes map[string]kernels.Scheme) map[string]any {
	count, most := map[kernels.Scheme]int{}, kernels.Scheme{Bits: 4, Group: 128, Sym: true}
	for _, m := range modules {
		if s, ok := schemes[m.Name]; ok {
			if count[s]++; count[s] > count[most] {
				most = s
			}
		}
	}
	size := func(s kernels.Scheme) int {
		if s.Group == 0 {
			return -1
		}
		return s.Group
	}
	config := map[string]any{"quant_method": "gptq", "bits": most.Bits, "group_size": size(most), "sym": most.Sym, "desc_act": false,
		"lm_head": false, "damp_percent": 0.01, "static_groups": false, "true_sequential": true}
	dynamic := map[string]any{}
	for _, m := range modules {
		name := regexp.QuoteMeta(m.Name) + "$"
		if s, ok := schemes[m.Name]; !ok && m.Layer >= 0 {
			dynamic["-:^"+name] = map[string]any{}
		} else if ok && s != most {
			dynamic["+:^"+name] = map[string]any{"bits": s.Bits, "group_size": size(s), "sym": s.Sym}
		}
	}
	if len(dynamic) > 0 {
		config["dynamic"] = dynamic
	}
	return config
}
