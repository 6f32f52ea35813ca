package durable

import "golang.org/x/sys/windows"

// FreeDisk is what this user may write on a directory's file system, -1 if that is
// unknown.
func FreeDisk(dir string) int64 {
	var free uint64
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil || windows.GetDiskFreeSpaceEx(path, &free, nil, nil) != nil {
		return -1
	}
	return int64(free)
}
