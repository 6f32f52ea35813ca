package main

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An operand is a tile, "$0x03", or a place in memory, "64(AX)(CX*1)".
var (
	amxTile   = regexp.MustCompile(`^\$(?:0x)?0?([0-7])$`)
	amxMemory = regexp.MustCompile(`^(-?\d*)\((\w+)\)(?:\((\w+)\*1\))?$`)
)

// registers64 are the general registers in the order of their numbers.
var registers64 = strings.Fields("AX CX DX BX SP BP SI DI R8 R9 R10 R11 R12 R13 R14 R15")

// amxBytes encodes an AMX instruction in Go's order of operands, sources first;
// nil for any other. The encodings are those of the Intel SDM, volume 2: all are
// VEX.128.0F38.W0, and differ in the prefix, the opcode and what is in ModRM.
func amxBytes(line string) ([]byte, error) {
	opcode, rest, _ := strings.Cut(line, " ")
	const none, f3, f2 = 0, 2, 3
	ops := strings.Split(rest, ", ")
	switch {
	case opcode == "LDTILECFG" && len(ops) == 1:
		return amxEncode(none, 0x49, 0, 0, ops[0])
	case opcode == "TILERELEASE":
		return amxEncode(none, 0x49, 0, 0, "$0")
	case opcode == "TILEZERO" && len(ops) == 1:
		tile, err := amxTileNumber(ops[0])
		if err != nil {
			return nil, err
		}
		return amxEncode(f2, 0x49, tile, 0, "$0")
	case opcode == "TILELOADD" && len(ops) == 2:
		tile, err := amxTileNumber(ops[1])
		if err != nil {
			return nil, err
		}
		return amxEncode(f2, 0x4b, tile, 0, ops[0])
	case opcode == "TILESTORED" && len(ops) == 2:
		tile, err := amxTileNumber(ops[0])
		if err != nil {
			return nil, err
		}
		return amxEncode(f3, 0x4b, tile, 0, ops[1])
	case opcode == "TDPBSSD" && len(ops) == 3: // the second factor, the first, the sum
		second, err := amxTileNumber(ops[0])
		if err != nil {
			return nil, err
		}
		sum, err := amxTileNumber(ops[2])
		if err != nil {
			return nil, err
		}
		return amxEncode(f2, 0x5e, sum, second, ops[1])
	}
	return nil, nil
}

func amxTileNumber(op string) (int, error) {
	m := amxTile.FindStringSubmatch(op)
	if m == nil {
		return 0, fmt.Errorf("%q is no tile", op)
	}
	return strconv.Atoi(m[1])
}

// amxEncode puts an instruction together: reg and rm are the operands in ModRM, v
// is the one in VEX.
func amxEncode(prefix, opcode byte, reg, v int, rm string) ([]byte, error) {
	x, b := byte(0), byte(0)
	var modrm []byte
	if m := amxMemory.FindStringSubmatch(rm); m != nil {
		base, index := slices.Index(registers64, m[2]), slices.Index(registers64, m[3])
		if base < 0 || m[3] != "" && (index < 0 || m[3] == "SP") {
			return nil, fmt.Errorf("%q is no place in memory", rm)
		}
		disp, _ := strconv.Atoi("0" + strings.TrimPrefix(m[1], "-")) // digits by the pattern
		if strings.HasPrefix(m[1], "-") {
			disp = -disp
		}
		b = byte(base >> 3)
		scaled := byte(4) // no index
		if m[3] != "" {
			x, scaled = byte(index>>3), byte(index&7)
		}
		// A displacement of four bytes and a SIB byte, whatever the place.
		modrm = []byte{0x84 | byte(reg&7)<<3, scaled<<3 | byte(base&7)}
		modrm = binary.LittleEndian.AppendUint32(modrm, uint32(int32(disp)))
	} else {
		tile, err := amxTileNumber(rm)
		if err != nil {
			return nil, err
		}
		modrm = []byte{0xc0 | byte(reg&7)<<3 | byte(tile)}
	}
	code := []byte{0xc4, 1<<7 | (x^1)<<6 | (b^1)<<5 | 0x02, byte(^v&15)<<3 | prefix, opcode}
	return append(code, modrm...), nil
}
