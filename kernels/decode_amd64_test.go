//go:build amd64 && !noasm

package kernels

import "fmt"

// encoding is how an instruction begins.
type encoding int

const (
	legacy encoding = iota
	vex
	evex512 // of AVX-512
)

func (e encoding) String() string { return [...]string{"legacy", "VEX", "EVEX"}[e] }

// instruction is what the encoding of one tells of it.
type instruction struct {
	encoding
	opmap, prefix, op byte // the opcode: its map (1 is 0F, 2 is 0F38, 3 is 0F3A), the prefix it implies (0, 66, F3, F2) and byte
	wide              bool // W of the prefix
	length            int  // of the vector: 0, 1, 2 for 128, 256, 512 bits
	reg, v, rm        int  // numbers of registers; rm is -1 where it is memory
	bytes             []byte
}

func (i instruction) String() string { return fmt.Sprintf("%s instruction % x", i.encoding, i.bytes) }

// decode reads the first instruction of code. It knows what these kernels consist of:
// anything else is an error.
func decode(code []byte) (i instruction, err error) {
	defer func() {
		if recover() != nil { // an index beyond the end
			err = fmt.Errorf("an instruction is cut off: % x", code)
		}
	}()
	n := 0
	var extR, extX, extB int
	switch code[0] {
	case 0xc5:
		i.encoding, i.opmap = vex, 1
		i.vexPayload(code[1])
		extR = int(^code[1]>>7&1) << 3
		n = 2
	case 0xc4:
		i.encoding, i.opmap, i.wide = vex, code[1]&31, code[2]>>7 == 1
		i.vexPayload(code[2])
		extR, extX, extB = int(^code[1]>>7&1)<<3, int(^code[1]>>6&1)<<3, int(^code[1]>>5&1)<<3
		n = 3
	case 0x62:
		i.encoding, i.opmap, i.wide = evex512, code[1]&7, code[2]>>7 == 1
		i.vexPayload(code[2] &^ 4)
		i.length = int(code[3] >> 5 & 3)
		i.v |= int(^code[3]>>3&1) << 4
		extR = int(^code[1]>>7&1)<<3 | int(^code[1]>>4&1)<<4
		extX, extB = int(^code[1]>>6&1)<<3, int(^code[1]>>5&1)<<3
		n = 4
	default:
		return decodeLegacy(code)
	}
	i.op = code[n]
	n++
	if i.encoding == vex && i.opmap == 1 && i.op == 0x77 { // VZEROUPPER
		i.bytes = code[:n]
		return i, nil
	}
	i.reg = int(code[n]>>3&7) | extR
	i.rm = -1
	if code[n]>>6 == 3 {
		i.rm = int(code[n]&7) | extB
		if i.encoding == evex512 {
			i.rm |= extX << 1
		}
	}
	n += operandBytes(code[n:])
	if i.opmap == 3 || i.opmap == 1 && (i.op&^3 == 0x70 || i.op == 0xc2 || i.op&^1 == 0xc4 || i.op == 0xc6) {
		n++ // an immediate
	}
	i.bytes = code[:n]
	return i, nil
}

// vexPayload reads the last byte of a VEX prefix, which EVEX has as well.
func (i *instruction) vexPayload(b byte) {
	i.prefix = [...]byte{0, 0x66, 0xf3, 0xf2}[b&3]
	i.length = int(b >> 2 & 1)
	i.v = int(^b >> 3 & 15)
}

// operandBytes is the length of ModRM and what belongs to it.
func operandBytes(code []byte) int {
	mod, rm, n := code[0]>>6, code[0]&7, 1
	if mod == 3 {
		return n
	}
	if rm == 4 {
		if mod == 0 && code[1]&7 == 5 {
			n += 4
		}
		n++
	}
	switch {
	case mod == 1:
		n++
	case mod == 2, mod == 0 && rm == 5:
		n += 4
	}
	return n
}

// decodeLegacy reads an instruction for general registers, or one of SSE that moves a
// result.
func decodeLegacy(code []byte) (i instruction, err error) {
	n := 0
	for ; code[n] == 0x66 || code[n] == 0xf2 || code[n] == 0xf3; n++ {
		i.prefix = code[n]
	}
	if code[n]&0xf0 == 0x40 { // REX
		i.wide = code[n]&8 != 0
		n++
	}
	if code[n] == 0x0f {
		i.opmap = 1
		n++
	}
	i.op = code[n]
	n++
	modrm, immediate := true, 0
	switch op := i.op; {
	case i.opmap == 1:
		switch {
		case op&0xf0 == 0x80: // Jcc
			modrm, immediate = false, 4
		case op == 0x18, op == 0x1f, op&0xf0 == 0x40, op == 0xaf, op == 0xb6, op == 0xb7: // PREFETCH, NOP, CMOVcc, IMUL, MOVZX
		case i.prefix == 0xf3 && (op == 0x10 || op == 0x11): // MOVSS
		default:
			return i, fmt.Errorf("opcode 0f %02x is unknown: % x", op, code[:min(len(code), 15)])
		}
	case op < 0x40 && op&7 < 4: // ADD, OR, AND, SUB, XOR, CMP
	case op < 0x40 && op&7 == 4:
		modrm, immediate = false, 1
	case op < 0x40 && op&7 == 5:
		modrm, immediate = false, 4
	case op&0xf0 == 0x70, op == 0xeb: // Jcc, JMP
		modrm, immediate = false, 1
	case op == 0xe9:
		modrm, immediate = false, 4
	case op == 0x80, op == 0x83, op == 0x6b, op == 0xc0, op == 0xc1:
		immediate = 1
	case op == 0x81, op == 0x69, op == 0xc7:
		immediate = 4
	case op == 0x63, op == 0x84, op == 0x85, op >= 0x88 && op <= 0x8b, op == 0x8d, op == 0xd1, op == 0xd3, op == 0xff:
	case op == 0xf7:
		if code[n]>>3&7 < 2 { // TEST
			immediate = 4
		}
	case op&0xf8 == 0xb8: // MOV
		modrm, immediate = false, 4
		if i.wide {
			immediate = 8
		}
	case op == 0xa8:
		modrm, immediate = false, 1
	case op == 0xa9:
		modrm, immediate = false, 4
	case op == 0xc3, op == 0x90, op&0xf0 == 0x50: // RET, NOP, PUSH, POP
		modrm = false
	default:
		return i, fmt.Errorf("opcode %02x is unknown: % x", op, code[:min(len(code), 15)])
	}
	if modrm {
		n += operandBytes(code[n:])
	}
	i.bytes = code[:n+immediate]
	return i, nil
}

// opcode names an instruction of VEX or EVEX: "66.2.50", and "66.3.1bw" where W is
// part of it.
func (i instruction) opcode() string {
	s := fmt.Sprintf("%02x.%d.%02x", i.prefix, i.opmap, i.op)
	if i.encoding == evex512 && i.wide {
		s += "w"
	}
	return s
}
