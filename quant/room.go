package quant

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What a machine can lack for a plan.
var (
	ErrDisk   = errors.New("the disk is too small")
	ErrMemory = errors.New("memory is too small")
)

// room is what a machine has to give, in bytes; -1 is unknown.
type room struct{ disk, memory int64 }

// roomFor looks at the file system that out will be on and at memory.
func roomFor(out string) room {
	dir := filepath.Dir(filepath.Clean(out))
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir) // it will be made
	}
	memory := freeMemory("/")
	if n := addressSpace(addresses("/")); n >= 0 && (memory < 0 || n < memory) {
		memory = n
	}
	return room{freeDisk(dir), memory}
}

// addresses is the size of this process's address space, 0 if that is unknown.
func addresses(root string) int64 {
	var pages int64
	if data, err := os.ReadFile(filepath.Join(root, "proc/self/statm")); err == nil {
		fmt.Sscan(string(data), &pages)
	}
	return pages * int64(os.Getpagesize())
}

// check refuses a plan that a machine has no room for. The need for memory is an
// estimate: force goes on without it.
func (r room) check(p Plan, out string, force bool) error {
	if r.disk >= 0 && p.DiskBytes > r.disk {
		return fmt.Errorf("%s: %w: %d MB are needed and %d MB are free; free some, or give a directory on another disk", out, ErrDisk, megabytes(p.DiskBytes), r.disk/1e6)
	}
	if r.memory >= 0 && p.PeakRSSBytes > r.memory && !force {
		return fmt.Errorf("%w: about %d MB are needed and %d MB are available; end other programs, calibrate with fewer or shorter samples, or try it all the same with --force",
			ErrMemory, megabytes(p.PeakRSSBytes), r.memory/1e6)
	}
	return nil
}

// megabytes rounds up.
func megabytes(n int64) int64 { return (n + 1e6 - 1) / 1e6 }

// freeMemory is what the system says is available, or less if the process's
// control group (version 2 or 1, as seen from inside a container) allows less.
// root is where the system's files are.
func freeMemory(root string) int64 {
	free := int64(-1)
	if data, err := os.ReadFile(filepath.Join(root, "proc/meminfo")); err == nil {
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemAvailable:" {
				if kb, err := strconv.ParseInt(f[1], 10, 53); err == nil {
					free = kb << 10
				}
			}
		}
	}
	number := func(path string) (int64, bool) {
		data, err := os.ReadFile(filepath.Join(root, "sys/fs/cgroup", path))
		n, bad := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64) // "max" is none
		return n, err == nil && bad == nil
	}
	for _, files := range [][2]string{{"memory.max", "memory.current"}, {"memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"}} {
		limit, limited := number(files[0])
		used, known := number(files[1])
		if limited && known && (free < 0 || limit-used < free) {
			free = max(0, limit-used)
		}
	}
	return free
}
