package workbench

import (
	"os"
	"path/filepath"
	"testing"

	"nibble/ui/theme"
)

// The page and the theme come back; a file that says nothing changes nothing.
func TestRemember(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "workbench.json")
	a, _ := testApp("loaded")
	a.at = onKernels
	a.th, _ = theme.Named("contrast")
	if err := a.remember(path); err != nil {
		t.Fatal(err)
	}
	for _, themed := range []bool{false, true} {
		b, _ := testApp("loaded")
		if b.recall(path, themed); b.at != onKernels || (b.th.Name == "contrast") == themed {
			t.Errorf("back on page %d with the theme %s", b.at, b.th.Name)
		}
	}
	for _, text := range []string{"", "{", `{"page": "Nowhere", "theme": "pink"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, _ := testApp("loaded")
		if b.recall(path, false); b.at != onModel || b.th.Name != theme.Default {
			t.Errorf("%q leads to page %d with the theme %s", text, b.at, b.th.Name)
		}
	}
	b, _ := testApp("loaded")
	if b.recall(filepath.Join(path, "none"), false); b.at != onModel {
		t.Error("without a file")
	}
}
