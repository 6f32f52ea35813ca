package main

import (
	"fmt"
	"regexp"
	"strconv"
)

// Go's assembler for arm64 lacks the dot products and the matrix multiply, and
// most of Advanced SIMD's arithmetic. encode turns one instruction, in the
// syntax of the Arm Architecture Reference Manual, into its 32 bits; the .s
// files hold those as WORD with the text beside them.

// opcode is an instruction with zeros in all its operands. Registers fill bits
// 0, 5 and 16 upwards, in the order they are written; imm places the number.
type opcode struct {
	word uint32
	imm  func(n uint32) (bits uint32, ok bool)
}

// opcodes is keyed by the text without numbers of registers and immediates.
// Source: Arm Architecture Reference Manual for A-profile (DDI 0487), C7.2.
var opcodes = map[string]opcode{
	"sdot v.4s, v.16b, v.4b[]":  {0x4f80e000, wordIndex},
	"smmla v.4s, v.16b, v.16b":  {0x4e80a400, nil},
	"usmmla v.4s, v.16b, v.16b": {0x4e80ac00, nil},
	"smull v.8h, v.8b, v.8b":    {0x0e20c000, nil},
	"smull2 v.8h, v.16b, v.16b": {0x4e20c000, nil},
	"smlal v.8h, v.8b, v.8b":    {0x0e208000, nil},
	"smlal2 v.8h, v.16b, v.16b": {0x4e208000, nil},
	"addp v.8h, v.8h, v.8h":     {0x4e60bc00, nil},
	"addp v.4s, v.4s, v.4s":     {0x4ea0bc00, nil},
	"sadalp v.4s, v.8h":         {0x4e606800, nil},
	"add v.4s, v.4s, v.4s":      {0x4ea08400, nil},
	"mul v.4s, v.4s, v.4s":      {0x4ea09c00, nil},
	"mul v.4s, v.4s, v.s[]":     {0x4f808000, wordIndex},
	"and v.16b, v.16b, v.16b":   {0x4e201c00, nil},
	"eor v.16b, v.16b, v.16b":   {0x6e201c00, nil},
	"ushr v.16b, v.16b, #":      {0x6f080400, func(n uint32) (uint32, bool) { return (8 - n) << 16, 1 <= n && n <= 8 }},
	"uxtl v.8h, v.8b":           {0x2f08a400, nil},
	"uxtl v.4s, v.4h":           {0x2f10a400, nil},
	"uxtl2 v.4s, v.8h":          {0x6f10a400, nil},
	"sxtl v.8h, v.8b":           {0x0f08a400, nil},
	"sxtl v.4s, v.4h":           {0x0f10a400, nil},
	"sxtl2 v.4s, v.8h":          {0x4f10a400, nil},
	"zip1 v.4s, v.4s, v.4s":     {0x4e803800, nil},
	"zip2 v.4s, v.4s, v.4s":     {0x4e807800, nil},
	"zip1 v.2d, v.2d, v.2d":     {0x4ec03800, nil},
	"zip2 v.2d, v.2d, v.2d":     {0x4ec07800, nil},
	"uzp1 v.4s, v.4s, v.4s":     {0x4e801800, nil},
	"uzp2 v.4s, v.4s, v.4s":     {0x4e805800, nil},
	"dup v.4s, v.s[]":           {0x4e040400, func(n uint32) (uint32, bool) { return n << 19, n < 4 }},
	"dup v.2d, v.d[]":           {0x4e080400, func(n uint32) (uint32, bool) { return n << 20, n < 2 }},
	"movi v.2d, #":              {0x6f00e400, func(n uint32) (uint32, bool) { return 0, n == 0 }},
	"movi v.16b, #":             {0x4f00e400, func(n uint32) (uint32, bool) { return n>>5<<16 | n&31<<5, n < 256 }},
	"tbl v.16b, {v.16b}, v.16b": {0x4e000000, nil},
	"sub v.16b, v.16b, v.16b":   {0x6e208400, nil},
	"shl v.16b, v.16b, #":       {0x4f085400, func(n uint32) (uint32, bool) { return n << 16, n < 8 }},
	"sli v.16b, v.16b, #":       {0x6f085400, func(n uint32) (uint32, bool) { return n << 16, n < 8 }},
	"scvtf v.4s, v.4s":          {0x4e21d800, nil},
	"fcvtl v.4s, v.4h":          {0x0e217800, nil},
	"fcvtl2 v.4s, v.8h":         {0x4e217800, nil},
	"fmul v.4s, v.4s, v.4s":     {0x6e20dc00, nil},
	"fmul v.4s, v.4s, v.s[]":    {0x4f809000, wordIndex},
	"fmla v.4s, v.4s, v.4s":     {0x4e20cc00, nil},
	"umax v.4s, v.4s, v.4s":     {0x6ea06400, nil},
	"umaxv s, v.4s":             {0x6eb0a800, nil},
	"addv s, v.4s":              {0x4eb1b800, nil},
	"bic v.16b, v.16b, v.16b":   {0x4e601c00, nil},
	"shl v.4s, v.4s, #":         {0x4f205400, func(n uint32) (uint32, bool) { return n << 16, n < 32 }},
	"shll v.4s, v.4h, #":        {0x2e613800, func(n uint32) (uint32, bool) { return 0, n == 16 }},
	"shll2 v.4s, v.8h, #":       {0x6e613800, func(n uint32) (uint32, bool) { return 0, n == 16 }},
	"uzp1 v.8h, v.8h, v.8h":     {0x4e401800, nil},
	"uzp1 v.16b, v.16b, v.16b":  {0x4e001800, nil},
	"fcvtns v.4s, v.4s":         {0x4e21a800, nil},
	"frintn v.4s, v.4s":         {0x4e218800, nil},
	"fmla v.4s, v.4s, v.s[]":    {0x4f801000, wordIndex},
	"fmls v.4s, v.4s, v.4s":     {0x4ea0cc00, nil},
	"fadd v.4s, v.4s, v.4s":     {0x4e20d400, nil},
	"faddp v.4s, v.4s, v.4s":    {0x6e20d400, nil},
	"fsub v.4s, v.4s, v.4s":     {0x4ea0d400, nil},
	"fdiv v.4s, v.4s, v.4s":     {0x6e20fc00, nil},
	"fmax v.4s, v.4s, v.4s":     {0x4e20f400, nil},
	"fmin v.4s, v.4s, v.4s":     {0x4ea0f400, nil},
	"fabs v.4s, v.4s":           {0x4ea0f800, nil},
	"fmaxv s, v.4s":             {0x6e30f800, nil},
	"fcvtn v.4h, v.4s":          {0x0e216800, nil},
	"fcvtn2 v.8h, v.4s":         {0x4e216800, nil},
	"fneg v.4s, v.4s":           {0x6ea0f800, nil},
	"fcmgt v.4s, v.4s, v.4s":    {0x6ea0e400, nil},
}

// wordIndex places the number of a 32-bit element in H and L, bits 11 and 21.
func wordIndex(n uint32) (uint32, bool) { return n>>1<<11 | n&1<<21, n < 4 }

var (
	register  = regexp.MustCompile(`\b([vs])(\d+)\b`)
	immediate = regexp.MustCompile(`([[#])(\d+)`)
)

// encode returns the bits of one instruction.
func encode(text string) (uint32, error) {
	key := immediate.ReplaceAllString(register.ReplaceAllString(text, "$1"), "$1")
	op, ok := opcodes[key]
	if !ok {
		return 0, fmt.Errorf("%q: no opcode for %q", text, key)
	}
	word := op.word
	for i, m := range register.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseUint(m[2], 10, 32)
		if err != nil || n > 31 {
			return 0, fmt.Errorf("%q: register %s", text, m[0])
		}
		word |= uint32(n) << []int{0, 5, 16}[i]
	}
	m := immediate.FindStringSubmatch(text)
	if (m != nil) != (op.imm != nil) {
		return 0, fmt.Errorf("%q: no opcode with this number", text)
	}
	if m == nil {
		return word, nil
	}
	n, err := strconv.ParseUint(m[2], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q: %w", text, err)
	}
	bits, ok := op.imm(uint32(n))
	if !ok {
		return 0, fmt.Errorf("%q: %d is out of range", text, n)
	}
	return word | bits, nil
}
