package model

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("safe"), 0o644); err != nil {
		t.Fatal(err)
	}
	// What an earlier attempt left, or another put there, is not written through.
	if err := os.Symlink(victim, filepath.Join(dir, ".file.new")); err != nil {
		t.Skip(err)
	}
	for _, want := range []string{"old", "new and longer"} {
		if err := ReplaceFile(path, []byte(want[:2]), []byte(want[2:])); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if got, _ := os.ReadFile(victim); string(got) != "safe" {
		t.Errorf("a link was followed: %q", got)
	}
	// A directory cannot be replaced by a file: nothing half-written stays.
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceFile(filepath.Join(dir, "taken"), []byte("x")); err == nil {
		t.Error("a directory was replaced")
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}
