package model

import (
	"os"
	"strings"
	"testing"

	"nibble/model/arch"
)

// The readme names every family, and its worked example is a family's file.
func TestReadme(t *testing.T) {
	for _, f := range arch.Families() {
		if !strings.Contains(Readme, "`"+f+"`") {
			t.Errorf("README.md does not name %s", f)
		}
	}
	page, err := os.ReadFile("arch/minimaxm2.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if !strings.Contains(Readme, strings.TrimRight("    "+line, " ")) && strings.TrimSpace(line) != "" {
			t.Errorf("the example lacks %q", line)
		}
	}
}
