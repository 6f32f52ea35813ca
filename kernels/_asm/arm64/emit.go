package main

import (
	"fmt"
	"slices"
	"strings"

	"nibble/kernels/_asm/table"
)

// file is a Go assembly file under construction, with the declarations of its
// functions.
type file struct {
	text, stubs strings.Builder
	tiles       []table.Tile // of quantized products
}

// function is one of its functions: registers are given out and taken back, and
// running out of them is a mistake of the generator that stops it.
type function struct {
	*file
	vecs, gps []int // free registers, ascending
	at        map[string]int
}

type (
	vec int // a vector register, v0 to v31
	gp  int // a general register, R0 to R26
)

// none is no vector register.
const none vec = -1

func (v vec) String() string { return fmt.Sprintf("v%d", int(v)) }
func (r gp) String() string  { return fmt.Sprintf("R%d", int(r)) }

// begin starts a function without a frame. Parameters are written as in Go, "n
// int"; every one is 8 bytes but for float32. result is a
// type or "".
func (f *file) begin(name, doc string, result string, params ...string) *function {
	return f.beginFrame(0, name, doc, result, params...)
}

// frameAt is where a frame's bytes begin, from RSP: the return address lies below.
const frameAt = 16

// beginFrame starts a function that has some bytes of its own on the stack.
func (f *file) beginFrame(frame int, name, doc string, result string, params ...string) *function {
	fn := &function{file: f, at: map[string]int{}}
	for i := range 32 {
		fn.vecs = append(fn.vecs, i)
	}
	for i := range 27 {
		if i < 16 || i > 18 { // those between are the linker's and the platform's
			fn.gps = append(fn.gps, i)
		}
	}
	size := 0
	place := func(name, typ string) {
		width := 8
		if typ == "float32" {
			width = 4
		}
		size = (size + width - 1) / width * width
		fn.at[name] = size
		size += width
	}
	for _, p := range params {
		name, typ, _ := strings.Cut(p, " ")
		place(name, typ)
	}
	signature := fmt.Sprintf("func %s(%s)", name, strings.Join(params, ", "))
	if result != "" {
		size = (size + 7) / 8 * 8 // results start on a word of their own
		place("ret", result)
		signature += " " + result
	}
	fmt.Fprintf(&f.stubs, "\n// %s\n", strings.ReplaceAll(doc, "\n", "\n// "))
	if strings.Contains(signature, "*") {
		f.stubs.WriteString("//\n//go:noescape\n")
	}
	fmt.Fprintf(&f.stubs, "%s\n", signature)
	if frame > 0 {
		frame += frameAt - 8 // of which Go's assembler gives the return address's
	}
	fmt.Fprintf(&f.text, "\n// %s\nTEXT ·%s(SB), NOSPLIT, $%d-%d\n", signature, name, frame, size)
	return fn
}

// op writes an instruction that Go's assembler has.
func (f *function) op(format string, args ...any) {
	fmt.Fprintf(&f.text, "\t"+format+"\n", args...)
}

// arm writes an instruction that it lacks, from Arm's syntax.
func (f *function) arm(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	word, err := encode(text)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(&f.text, "\tWORD $%#08x // %s\n", word, text)
}

func (f *function) label(name string) { fmt.Fprintf(&f.text, "\n%s:\n", name) }

// comment explains the instructions that follow.
func (f *function) comment(text string) { fmt.Fprintf(&f.text, "\t// %s\n", text) }

// param loads a parameter into a new register.
func (f *function) param(name string) gp {
	r := f.gp()
	f.reload(name, r)
	return r
}

// reload loads a parameter into a register.
func (f *function) reload(name string, r gp) { f.op("MOVD %s+%d(FP), %v", name, f.at[name], r) }

func (f *function) gp() gp {
	if len(f.gps) == 0 {
		panic("out of general registers")
	}
	r := f.gps[0]
	f.gps = f.gps[1:]
	return gp(r)
}

func (f *function) gpN(n int) []gp {
	rs := make([]gp, n)
	for i := range rs {
		rs[i] = f.gp()
	}
	return rs
}

func (f *function) vec() vec {
	if len(f.vecs) == 0 {
		panic("out of vector registers")
	}
	v := f.vecs[0]
	f.vecs = f.vecs[1:]
	return vec(v)
}

func (f *function) vecN(n int) []vec {
	vs := make([]vec, n)
	for i := range vs {
		vs[i] = f.vec()
	}
	return vs
}

// free takes registers back.
func (f *function) free(vs ...vec) {
	for _, v := range vs {
		f.vecs = append(f.vecs, int(v))
	}
	slices.Sort(f.vecs)
}

// load fills all 128 bits of v.
func (f *function) load(v vec, base gp, offset int) {
	f.op("FMOVQ %d(%v), F%d", offset, base, int(v))
}

// vstore writes all 128 bits of v.
func (f *function) vstore(v vec, base gp, offset int) {
	f.op("FMOVQ F%d, %d(%v)", int(v), offset, base)
}

// constant fills a register with copies of 32 bits.
func (f *function) constant(bits uint32) vec {
	v, r := f.vec(), f.gp()
	f.op("MOVD $%#x, %v", bits, r)
	f.op("VDUP %v, V%d.S4", r, int(v))
	f.gps = append([]int{int(r)}, f.gps...)
	return v
}

// bytes fills a register with 16 bytes.
func (f *function) bytes(b [16]int8) vec {
	v, r := f.vec(), f.gp()
	for half := range 2 {
		var word uint64
		for i := range 8 {
			word |= uint64(uint8(b[8*half+i])) << (8 * i)
		}
		f.op("MOVD $%#x, %v", word, r)
		f.op("VMOV %v, V%d.D[%d]", r, int(v), half)
	}
	f.gps = append([]int{int(r)}, f.gps...)
	return v
}

// apart returns n pointers from the first one, stride bytes apart.
func (k *function) apart(first, stride gp, n int) []gp {
	ps := []gp{first}
	for range n - 1 {
		p := k.gp()
		k.op("ADD %v, %v, %v", stride, ps[len(ps)-1], p)
		ps = append(ps, p)
	}
	return ps
}
