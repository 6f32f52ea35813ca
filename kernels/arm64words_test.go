package kernels

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"nibble/kernels/kerneltest"
)

// The functions of arm64 hold dot products and matrix products in the tiers that ask
// for them alone, whatever machine this is: instructions beyond NEON are written as
// words.
func TestWordsOfTiers(t *testing.T) {
	beyond := []struct {
		name       string
		mask, word uint64
		tiers      []string // as functions are named after them
	}{
		{"SDOT or UDOT of an element", 0xdf00f400, 0x4f00e000, []string{"DotProd", "I8MM"}}, // Arm ARM (DDI 0487), C7.2
		{"SDOT or UDOT", 0xdf20fc00, 0x4e009400, []string{"DotProd", "I8MM"}},
		{"SMMLA, UMMLA or USMMLA", 0xdf20f400, 0x4e00a400, []string{"I8MM"}},
	}
	files, err := filepath.Glob("*/*_arm64.s")
	if err != nil || len(files) == 0 {
		t.Fatalf("no assembly files: %v", err)
	}
	seen := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		kerneltest.Must(t, err)
		for _, f := range strings.Split(string(text), "\nTEXT ·")[1:] {
			function, body, _ := strings.Cut(f, "(SB)")
			for _, m := range regexp.MustCompile(`\tWORD \$(0x[0-9a-f]+) // (.*)`).FindAllStringSubmatch(body, -1) {
				word, err := strconv.ParseUint(m[1], 0, 32)
				kerneltest.Must(t, err)
				for _, b := range beyond {
					if word&b.mask != b.word {
						continue
					}
					seen[b.name]++
					allowed := false
					for _, tier := range b.tiers {
						allowed = allowed || strings.Contains(function, tier)
					}
					if !allowed {
						t.Errorf("%s: %s is %s, which its tier does not ask for", function, m[2], b.name)
					}
				}
			}
		}
	}
	for _, b := range []string{beyond[0].name, beyond[2].name} {
		if seen[b] == 0 {
			t.Errorf("no %s was found: the masks are wrong", b)
		}
	}
}
