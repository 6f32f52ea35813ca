//go:build !unix

package source

import (
	"io"
	"os"
)

// mapFile reads the file where mapping is not available.
func mapFile(f *os.File, size int64) ([]byte, func() error, error) {
	data := make([]byte, size)
	_, err := io.ReadFull(f, data)
	return data, func() error { return nil }, err
}

// releasePages does nothing: the file is not mapped.
func releasePages([]byte, int, int) {}
