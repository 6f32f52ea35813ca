package workbench

import (
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"nibble/ui/chart"
)

// Every mark that the screens are drawn with has a place in ASCII; a question mark
// is left to foreign text.
func TestMarksInASCII(t *testing.T) {
	files, err := filepath.Glob("../*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no sources:", err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "chart/ascii.go") {
			continue
		}
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		var s scanner.Scanner
		s.Init(set.AddFile(path, set.Base(), len(src)), src, nil, 0)
		for {
			pos, kind, lit := s.Scan()
			if kind == token.EOF {
				break
			}
			if kind != token.STRING && kind != token.CHAR {
				continue
			}
			text, err := strconv.Unquote(lit)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range text {
				if r >= 0xa0 && r != '\u2028' && r != '\u2029' && strings.Contains(chart.ASCII(string(r)), "?") { // those two are dropped, not drawn
					t.Errorf("%v: %q has none", set.Position(pos), r)
				}
			}
		}
	}
}
