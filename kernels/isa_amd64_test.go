//go:build amd64 && !noasm

package kernels

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"nibble/kernels/cpu"
	"nibble/kernels/kerneltest"
)

// assembled returns the bytes of every assembly function of the packages below, as they are
// in the running program.
func assembled(t *testing.T) map[string][]byte {
	t.Helper()
	const align = 16 // functions begin on a multiple of it
	found := map[string][]byte{}
	start := reflect.ValueOf(assembled).Pointer() &^ (align - 1)
	for _, step := range []uintptr{align, ^uintptr(align) + 1} { // to the end of the program, and back to its beginning
		for pc := start; ; pc += step {
			f := runtime.FuncForPC(pc)
			if f == nil {
				break
			}
			name, ours := strings.CutPrefix(f.Name(), "nibble/kernels/")
			name = name[strings.Index(name, ".")+1:] // without the package
			// A wrapper for Go's calls has the same name, but no file.
			if file, _ := f.FileLine(pc); !ours || f.Entry() != pc || !strings.HasSuffix(file, "_amd64.s") {
				continue
			}
			end := pc
			for g := f; g != nil && g.Entry() == pc; g = runtime.FuncForPC(end) {
				end += align
			}
			found[name] = unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&pc))), end-pc)
		}
	}
	return found
}

// assemblyText returns the lines of every function in their assembly files.
func assemblyText(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*/*_amd64.s")
	if err != nil || len(files) == 0 {
		t.Fatalf("no assembly files: %v", err)
	}
	texts := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		kerneltest.Must(t, err)
		for _, f := range strings.Split(string(text), "\nTEXT ·")[1:] {
			name, body, _ := strings.Cut(f, "(SB)")
			texts[name] = body
		}
	}
	return texts
}

// opcodes are the instructions the kernels may consist of, by the feature that a CPU
// must have for them (Intel SDM, volume 2): those with VEX, and those with EVEX, in
// the form of instruction.opcode. The others, for general registers, every CPU has.
var opcodes = map[encoding]map[cpuid.FeatureID]string{
	vex: {
		cpuid.AVX: "00.1.10 00.1.11 00.1.14 00.1.15 00.1.2e 00.1.55 00.1.57 00.1.58 00.1.59 00.1.5a 00.1.5b 00.1.5c 00.1.5d 00.1.5e 00.1.5f 00.1.77 00.1.c2 00.1.c6 " +
			"66.1.10 66.1.11 66.1.14 66.1.15 66.1.54 66.1.58 66.1.59 66.1.5b 66.1.5c 66.1.5d 66.1.5e 66.1.5f f3.1.11 f3.1.58 f3.1.5e f3.1.5f f2.1.e6 " +
			"66.1.6e 66.1.7e 66.1.7f f3.1.6f f3.1.7f 66.2.18 66.2.19 66.3.06 66.3.08 66.3.09 66.3.19",
		cpuid.AVX2: "66.1.62 66.1.63 66.1.67 66.1.6a 66.1.6b 66.1.6c 66.1.6d 66.1.71 66.1.72 66.1.73 66.1.76 66.1.db 66.1.eb 66.1.ef 66.1.f5 66.1.fa 66.1.fd 66.1.fe " +
			"66.2.00 66.2.04 66.2.21 66.2.2b 66.2.31 66.2.33 66.2.36 66.2.3f 66.2.40 66.2.47 66.2.58 66.2.5a 66.2.90 66.3.38 66.3.39",
		cpuid.F16C:    "66.2.13 66.3.1d",
		cpuid.FMA3:    "66.2.a8 66.2.b8 66.2.ba 66.2.bc",
		cpuid.BMI2:    "00.2.f5",
		cpuid.AVXVNNI: "66.2.50 66.2.52",
		cpuid.AVX512F: "00.1.92", // KMOVW
		cpuid.AMXTILE: "00.2.49 f2.2.49 f2.2.4b f3.2.4b",
		cpuid.AMXINT8: "f2.2.5e",
	},
	evex512: {
		cpuid.AVX512F: "00.1.10 00.1.11 00.1.14 00.1.15 00.1.58 00.1.59 00.1.5b 00.1.c6 66.1.14w 66.1.15w 66.1.72 66.1.7f 66.1.db 66.1.ef 66.1.fa 66.1.fe f3.1.6f f3.1.7f " +
			"66.2.13 66.2.18 66.2.21 66.2.31 66.2.33 66.2.40 66.2.58 66.2.a8 66.2.b8 66.3.19 66.3.1bw 66.3.23 66.3.25",
		cpuid.AVX512BW:   "66.1.71 66.1.f8 66.2.00",
		cpuid.AVX512DQ:   "00.1.57",
		cpuid.AVX512VNNI: "66.2.50 66.2.52",
	},
}

// needs lists the features of an instruction.
func (i instruction) needs() ([]cpuid.FeatureID, error) {
	if i.encoding == legacy {
		return nil, nil
	}
	for feature, list := range opcodes[i.encoding] {
		if slices.Contains(strings.Fields(list), i.opcode()) {
			if i.encoding == evex512 && i.length < 2 {
				return []cpuid.FeatureID{feature, cpuid.AVX512VL}, nil
			}
			return []cpuid.FeatureID{feature}, nil
		}
	}
	return nil, fmt.Errorf("opcode %s is not in the table", i.opcode())
}

// No function holds an instruction that the tier it is named after does not ask the
// CPU for, whatever CPU this is.
func TestInstructionsOfTiers(t *testing.T) {
	found, texts := assembled(t), assemblyText(t)
	for name := range texts {
		if found[name] == nil {
			t.Errorf("%s is not in the program", name)
		}
	}
	for name, code := range found {
		allowed := cpu.Needs(tierNamed(t, name))
		for len(code) > 0 && code[0] != 0xcc { // INT3 fills the space between functions
			i, err := decode(code)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
			code = code[len(i.bytes):]
			needs, err := i.needs()
			if err != nil {
				t.Errorf("%s: %s: %v", name, i, err)
			}
			for _, feature := range needs {
				if !slices.Contains(allowed, feature) {
					t.Errorf("%s: %s needs %s, which its tier does not ask for", name, i, feature)
				}
			}
		}
	}
}

// tierNamed is the tier that an assembly function is named after.
func tierNamed(t *testing.T, function string) cpu.ISA {
	t.Helper()
	for _, c := range []struct {
		part string
		isa  cpu.ISA
	}{{"AMX", cpu.AMX}, {"AVX512", cpu.AVX512VNNI}, {"AVXVNNI", cpu.AVXVNNI}, {"AVX2", cpu.AVX2}} {
		if strings.Contains(function, c.part) {
			return c.isa
		}
	}
	t.Fatalf("%s is named after no tier", function)
	return ""
}

// The bytes that stand for VPDPBUSD have the operands of the text they replace: with
// "-tags evex" that text itself is assembled, so what is tested there is tested here.
func TestSpelledOperands(t *testing.T) {
	macro := regexp.MustCompile(`VPDPBUSD_VEX\(Y(\d+), Y(\d+), Y(\d+),`)
	found := assembled(t)
	for name, text := range assemblyText(t) {
		if tierNamed(t, name) != cpu.AVXVNNI {
			continue
		}
		var want, got []string
		for _, m := range macro.FindAllStringSubmatch(text, -1) {
			want = append(want, strings.Join(m[1:], " "))
		}
		for code := found[name]; len(code) > 0 && code[0] != 0xcc; {
			i, err := decode(code)
			kerneltest.Must(t, err)
			code = code[len(i.bytes):]
			if i.opcode() == "66.2.50" {
				got = append(got, fmt.Sprint(i.rm, i.v, i.reg))
			}
		}
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: the operands are %v, want %v", name, got, want)
		}
	}
}

// The decoder tells instructions apart; the bytes are those of GNU as.
func TestDecode(t *testing.T) {
	for _, c := range []struct{ bytes, want string }{
		{"c4 e2 75 50 c2", "VEX 66.2.50 length 1 operands 0 1 2"},                         // {vex} vpdpbusd %ymm2,%ymm1,%ymm0
		{"c4 42 0d 50 ef", "VEX 66.2.50 length 1 operands 13 14 15"},                      // {vex} vpdpbusd %ymm15,%ymm14,%ymm13
		{"62 b2 7d 28 50 cb", "EVEX 66.2.50 length 1 operands 1 0 19"},                    // vpdpbusd %ymm19,%ymm0,%ymm1
		{"62 62 75 40 50 fa", "EVEX 66.2.50 length 2 operands 31 17 2"},                   // vpdpbusd %zmm2,%zmm17,%zmm31
		{"62 f1 7c 48 10 44 88 01", "EVEX 00.1.10 length 2 operands 0 0 -1"},              // vmovups 0x40(%rax,%rcx,4),%zmm0
		{"62 e2 7d 28 58 00", "EVEX 66.2.58 length 1 operands 16 0 -1"},                   // vpbroadcastd (%rax),%ymm16
		{"62 f3 fd 48 1b c8 01", "EVEX 66.3.1bw length 2 operands 1 0 0"},                 // vextractf64x4 $1,%zmm1,%ymm0
		{"c5 fc 10 04 25 44 33 22 11", "VEX 00.1.10 length 1 operands 0 0 -1"},            // vmovups 0x11223344,%ymm0
		{"c5 f1 73 d9 04", "VEX 66.1.73 length 0 operands 3 1 1"},                         // vpsrldq $4,%xmm1,%xmm1
		{"c4 e2 78 49 c0", "VEX 00.2.49 length 0 operands 0 0 0"},                         // tilerelease
		{"c5 f8 77", "VEX 00.1.77 length 0 operands 0 0 0"},                               // vzeroupper
		{"48 81 84 8b 44 33 22 11 88 77 66 55", "legacy 00.0.81 length 0 operands 0 0 0"}, // addq $0x55667788,0x11223344(%rbx,%rcx,4)
		{"48 b8 88 77 66 55 44 33 22 11", "legacy 00.0.b8 length 0 operands 0 0 0"},       // movabs $0x1122334455667788,%rax
		{"0f 85 44 33 22 11", "legacy 00.1.85 length 0 operands 0 0 0"},                   // jne
		{"48 f7 c0 44 33 22 11", "legacy 00.0.f7 length 0 operands 0 0 0"},                // testq $0x11223344,%rax
		{"48 f7 d8", "legacy 00.0.f7 length 0 operands 0 0 0"},                            // negq %rax
	} {
		code, err := hex.DecodeString(strings.ReplaceAll(c.bytes, " ", ""))
		kerneltest.Must(t, err)
		i, err := decode(append(slices.Clone(code), 0xc3, 0xcc))
		got := fmt.Sprintf("%s %s length %d operands %d %d %d", i.encoding, i.opcode(), i.length, i.reg, i.v, i.rm)
		if err != nil || got != c.want || !slices.Equal(i.bytes, code) {
			t.Errorf("%s: %s in % x, %v; want %s", c.bytes, got, i.bytes, err, c.want)
		}
	}
	for _, bad := range []string{"0fff", "cd", "c5", "62f1"} {
		code, err := hex.DecodeString(bad)
		kerneltest.Must(t, err)
		if i, err := decode(code); err == nil {
			t.Errorf("%s: decoded as %s", bad, i)
		}
	}
}
