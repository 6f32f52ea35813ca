package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"nibble/kernels/_asm/table"
	"nibble/kernels/layout"
)

// format is what kernels are generated for.
type format struct{ table.Format }

func formats() (all []format) {
	for _, f := range table.Formats() {
		all = append(all, format{f})
	}
	return all
}

// loadScales loads scales into a register from where a group's lie, at; super is
// where those of its span begin.
func (f format) loadScales(at, super operand.Mem, v, tmp reg.VecVirtual) {
	switch f.Scale {
	case layout.F16Scale:
		VCVTPH2PS(at, v)
	case layout.BF16Scale:
		VPMOVZXWD(at, v)
		VPSLLD(operand.Imm(16), v, v)
	case layout.SuperScale:
		VPMOVSXBD(at, v)
		VCVTDQ2PS(v, v)
		VCVTPH2PS(super, tmp)
		VMULPS(tmp, v, v)
	}
}

// declared are the constants that the file has.
var declared = map[string]operand.Mem{}

// table64 declares a constant of 64 bytes, in which some repeat.
func table64(name string, values []byte) operand.Mem {
	if m, ok := declared[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range layout.LineBytes {
		DATA(i, operand.U8(values[i%len(values)]))
	}
	declared[name] = m
	return m
}

// fill64 declares 64 bytes of a pattern of 32 bits.
func fill64(bits uint32) operand.Mem {
	return table64(fmt.Sprintf("fill%08x", bits), []byte{byte(bits), byte(bits >> 8), byte(bits >> 16), byte(bits >> 24)})
}

// tableBytes declares f's table with the values raised by 128, or a nibble of them.
func (f format) tableBytes(shift, mask uint) operand.Mem {
	values := make([]byte, 16)
	for i, v := range f.Table {
		values[i] = byte((uint(int(v)+128) >> shift) & mask)
	}
	return table64(fmt.Sprintf("%sFrom%dMask%d", strings.ReplaceAll(f.Name, "_", ""), shift, mask), values)
}

// shiftHigh generates the move of the high bits of vector j of a block's codes, those
// of columns 4j to 4j+3, to where they stand above its nibbles. What else is moved is
// to be masked.
func (f format) shiftHigh(j int, from, to reg.VecVirtual) {
	left := 4 - j // of the bit of one
	if f.High() == 2 {
		left = 4 - 2*(j%4)
	}
	switch {
	case left > 0:
		VPSLLW(operand.Imm(uint64(left)), from, to)
	case left < 0:
		VPSRLW(operand.Imm(uint64(-left)), from, to)
	case from != to:
		if from.Size() == 64 {
			VMOVDQA32(from, to)
		} else {
			VMOVDQA(from, to)
		}
	}
}

// highMask are the high bits above a nibble, in each byte.
func (f format) highMask() uint32 { return 0x10101010 * (1<<f.High() - 1) }
