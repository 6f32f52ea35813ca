package quant

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"nibble/model/output"
	"nibble/quant/plan"
)

// ErrMemory reports a plan that the machine has too little memory for.
var ErrMemory = errors.New("memory is too small")

// room refuses a plan that there is too little room for at a place, or in memory.
func room(at output.Place, p plan.Plan, force bool) error {
	if err := at.Room(p.DiskBytes); err != nil {
		return err
	}
	return checkMemory(p, force)
}

// checkMemory refuses a plan that there is too little memory for, which is an
// estimate: force goes on without it.
func checkMemory(p plan.Plan, force bool) error {
	free := freeMemory("/")
	if n := addressSpace(addresses("/")); n >= 0 && (free < 0 || n < free) {
		free = n
	}
	return memoryFor(p, free, force)
}

// memoryFor is checkMemory with so many bytes free; -1 is unknown.
func memoryFor(p plan.Plan, free int64, force bool) error {
	if free >= 0 && p.PeakRSSBytes > free && !force {
		return fmt.Errorf("%w: about %d MB are needed and %d MB are available; end other programs, calibrate with fewer or shorter samples, or try it all the same with --force",
			ErrMemory, (p.PeakRSSBytes+1e6-1)/1e6, free/1e6)
	}
	return nil
}

// addresses is the size of this process's address space, 0 if that is unknown.
func addresses(root string) int64 {
	var pages int64
	if data, err := os.ReadFile(filepath.Join(root, "proc/self/statm")); err == nil {
		fmt.Sscan(string(data), &pages)
	}
	return pages * int64(os.Getpagesize())
}

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
