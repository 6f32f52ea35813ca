package source

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"nibble/kernels/panics"
)

// Guard runs f, which reads mappings, and returns as an error that one could not
// be read: the file was cut, or its disk failed. All other panics pass.
//
// The fault is raised in the goroutine that reads. One that f begins must be
// guarded itself, or have debug.SetPanicOnFault set and hand its panic on, as the
// threads of a kernels.Engine do.
func Guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			change := changeOf(v)
			if change == nil {
				panic(v)
			}
			err = change
		}
	}()
	return f()
}

// changeOf returns what a panic tells of a mapping, nil for any other panic.
func changeOf(v any) *Change {
	switch v := v.(type) {
	case *panics.Carried: // of a goroutine
		return changeOf(v.Value)
	case *Change: // of one that was guarded itself
		return v
	case interface {
		runtime.Error
		Addr() uintptr
	}:
		return changeAt(v.Addr())
	}
	return nil
}

// changeAt returns why reading a mapping at an address failed, nil if there is no
// mapping.
func changeAt(address uintptr) *Change {
	mappings.Lock()
	defer mappings.Unlock()
	for _, m := range mappings.all {
		at, ok := m.find(address)
		if !ok {
			continue
		}
		if info, err := m.file.Stat(); err == nil && info.Size() < m.Stamp.size {
			return &Change{m.Stamp.path, fmt.Sprintf("was truncated while it was read: %d of its %d bytes are left", info.Size(), m.Stamp.size)}
		}
		return &Change{m.Stamp.path, fmt.Sprintf("could not be read at byte %d: its disk or network failed", at)}
	}
	return nil
}
