package main

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Words that GNU as 2.40 gives, with every field in use.
func TestEncode(t *testing.T) {
	for text, want := range map[string]uint32{
		"sdot v3.4s, v17.16b, v30.4b[2]": 0x4f9eea23,
		"sdot v31.4s, v0.16b, v1.4b[1]":  0x4fa1e01f,
		"smmla v3.4s, v1.16b, v2.16b":    0x4e82a423,
		"usmmla v3.4s, v1.16b, v2.16b":   0x4e82ac23,
		"smlal2 v9.8h, v18.16b, v27.16b": 0x4e3b8249,
		"mul v4.4s, v5.4s, v22.s[3]":     0x4fb688a4,
		"fmul v4.4s, v5.4s, v22.s[1]":    0x4fb690a4,
		"fmla v31.4s, v16.4s, v8.4s":     0x4e28ce1f,
		"ushr v7.16b, v9.16b, #4":        0x6f0c0527,
		"ushr v7.16b, v9.16b, #8":        0x6f080527,
		"movi v9.16b, #128":              0x4f04e409,
		"movi v9.16b, #15":               0x4f00e5e9,
		"dup v1.4s, v2.s[3]":             0x4e1c0441,
		"dup v1.2d, v2.d[1]":             0x4e180441,
	} {
		got, err := encode(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got != want {
			t.Errorf("%s: %#08x, want %#08x", text, got, want)
		}
	}
	for _, text := range []string{"", "sdot v3.4s, v1.16b", "sdot v32.4s, v1.16b, v2.4b[0]", "sdot v3.4s, v1.16b, v2.4b[4]",
		"movi v1.16b, #256", "ushr v1.16b, v2.16b, #0", "ushr v1.16b, v2.16b, #9", "dup v1.2d, v2.d[2]", "fsqrt v1.4s, v2.4s"} {
		if word, err := encode(text); err == nil {
			t.Errorf("%q became %#08x", text, word)
		}
	}
}

// Every opcode with random operands, and every WORD of the committed assembly,
// as GNU as encodes it.
func TestEncodeAsGNU(t *testing.T) {
	const as = "aarch64-linux-gnu-as"
	if _, err := exec.LookPath(as); err != nil {
		t.Skipf("%s is not installed (Debian: binutils-aarch64-linux-gnu)", as)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	slot := regexp.MustCompile(`[ {][vs]\b|#|\[`)
	words := map[string]uint32{}
	for key := range opcodes {
		for range 400 {
			text := slot.ReplaceAllStringFunc(key, func(s string) string {
				switch s {
				case "#":
					return fmt.Sprint(s, rng.IntN(256)>>rng.IntN(8))
				case "[":
					return fmt.Sprint(s, rng.IntN(4))
				}
				return fmt.Sprint(s, rng.IntN(32))
			})
			if word, err := encode(text); err == nil {
				words[text] = word
			}
		}
	}
	for text, word := range committed(t) {
		words[text] = word
	}
	var texts []string
	for text := range words {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	dir := t.TempDir()
	src, obj := filepath.Join(dir, "t.s"), filepath.Join(dir, "t.o")
	if err := os.WriteFile(src, []byte(strings.Join(texts, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(as, "-march=armv8.6-a", "-o", obj, src).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := elf.Open(obj)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	code, err := f.Section(".text").Data()
	if err != nil {
		t.Fatal(err)
	}
	if len(code) != 4*len(texts) {
		t.Fatalf("%d bytes for %d instructions", len(code), len(texts))
	}
	for i, text := range texts {
		if want := binary.LittleEndian.Uint32(code[4*i:]); words[text] != want {
			t.Errorf("%s: %#08x, want %#08x", text, words[text], want)
		}
	}
}

// committed reads the instructions that the assembly files spell out.
func committed(t *testing.T) map[string]uint32 {
	files, err := filepath.Glob("../../*/*_arm64.s")
	if err != nil || len(files) == 0 {
		t.Fatalf("no assembly: %v", err)
	}
	line := regexp.MustCompile(`WORD \$0x([0-9a-f]{8}) // (.*)`)
	words := map[string]uint32{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(text), -1) {
			word, err := strconv.ParseUint(m[1], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			if old, ok := words[m[2]]; ok && old != uint32(word) {
				t.Errorf("%s: both %#08x and %#08x", m[2], old, word)
			}
			words[m[2]] = uint32(word)
		}
	}
	return words
}
