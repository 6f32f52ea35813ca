//go:build unix && !linux

package output

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// isMount reports whether a directory is the top of a file system.
func isMount(dir string) bool {
	var self, parent unix.Stat_t
	return unix.Stat(dir, &self) == nil && unix.Stat(filepath.Dir(dir), &parent) == nil && self.Dev != parent.Dev
}
