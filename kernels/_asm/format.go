package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"nibble/kernels/layout"
)

// format is a storage format whose matrices have zero points or not.
type format struct {
	layout.Format
	zeros bool
}

// formats lists what kernels are generated for.
func formats() (all []format) {
	for _, f := range layout.Formats {
		all = append(all, format{f, false})
		if f.Zeros {
			all = append(all, format{f, true})
		}
	}
	return all
}

// id names the format in the names of functions.
func (f format) id() string {
	switch {
	case f.zeros:
		return fmt.Sprint(f.Bits, "asym")
	case f.Zeros:
		return fmt.Sprint(f.Bits, "sym")
	}
	return strings.ToUpper(strings.ReplaceAll(f.Name, "_", ""))
}

// describe says what codes the functions take.
func (f format) describe() string {
	if f.Zeros {
		return fmt.Sprintf("%d-bit %smetric codes", f.Bits, map[bool]string{true: "asym", false: "sym"}[f.zeros])
	}
	return f.Name + " codes"
}

// parts is how many groups a block has whose groups are no larger: halves of it have
// dot products of their own.
func (f format) parts() int {
	if f.Group > 0 {
		return layout.BlockCols / f.Group
	}
	return 1
}

// spanBlocks is the blocks of a span whose groups are no larger.
func (f format) spanBlocks() int {
	groups, _ := f.Span(f.zeros)
	return groups / f.parts()
}

// head is the bytes in front of a span's codes.
func (f format) head() int {
	_, head := f.Span(f.zeros)
	return head
}

// scaleStep is how far apart the scales of two blocks are, whose groups are no larger.
func (f format) scaleStep() int {
	if f.Scale == layout.SuperScale {
		return f.parts() * layout.SubBytes
	}
	return layout.ScaleBytes
}

// high is how many bits of a code lie apart from its nibble.
func (f format) high() int {
	if f.Bits == 8 {
		return 0
	}
	return f.Bits - 4
}

// Where the sum of a block starts that is to have no zero point in it.
const (
	startNowhere = -1 // at zero
	startBeside  = -2 // at what stands beside the activations, for each half
)

// start is where in a block of activations the sum of a product without zero points
// begins: at minus what a code has too much, times the sum of the activations.
func (f format) start() int {
	switch {
	case f.Mins:
		return startNowhere
	case f.parts() > 1:
		return startBeside
	case f.Bits == 8, f.Table != nil:
		return layout.ActNegSum128
	}
	return layout.ActNegSum8
}

// sideStep is the bytes that stand beside a block of activations, for a token: the
// float32 that meets least values, or for each half of it an int32 where sums start.
func (f format) sideStep() int {
	switch {
	case f.start() == startBeside:
		return 4 * f.parts()
	case f.Mins:
		return 4
	}
	return 0
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
	if f.high() == 2 {
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

// highLine is the line that has the high bits of vector j.
func (f format) highLine(j int) int {
	if f.high() == 2 {
		return 4 + j/4
	}
	return 4
}

// highMask are the high bits above a nibble, in each byte.
func (f format) highMask() uint32 { return 0x10101010 * (1<<f.high() - 1) }

// minsApart is how far behind the scales of a group its least values are.
func (f format) minsApart() int {
	if f.Scale == layout.SuperScale {
		groups, _ := f.Span(f.zeros)
		return groups * layout.SubBytes
	}
	return layout.ScaleBytes
}
