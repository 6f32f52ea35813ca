package exit

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Goroutines are started by panics.Go, which carries their panics, and signals are
// heard here: all others would be a second owner.
func TestOneOwner(t *testing.T) {
	files := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		path = filepath.ToSlash(path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata" || strings.HasSuffix(path, "ui/ptytest")):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files++
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok && !strings.HasSuffix(path, "kernels/panics/panics.go") {
				t.Errorf("%s: start goroutines with panics.Go", set.Position(g.Go))
			}
			if i, ok := n.(*ast.ImportSpec); ok && i.Path.Value == `"os/signal"` && !strings.Contains(path, "ui/exit/") {
				t.Errorf("%s: signals have one owner, ui/exit", set.Position(i.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil || files < 100 {
		t.Errorf("%d files read, %v", files, err)
	}
}
