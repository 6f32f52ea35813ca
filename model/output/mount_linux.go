package output

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// isMount reports whether something is mounted on a directory, be it a part of the
// same file system.
func isMount(dir string) bool {
	var self, parent unix.Statx_t
	const follow = 0
	if unix.Statx(unix.AT_FDCWD, dir, follow, unix.STATX_BASIC_STATS, &self) != nil {
		return false
	}
	if self.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return self.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
	}
	return unix.Statx(unix.AT_FDCWD, filepath.Dir(dir), follow, unix.STATX_BASIC_STATS, &parent) == nil &&
		(self.Dev_major != parent.Dev_major || self.Dev_minor != parent.Dev_minor)
}
