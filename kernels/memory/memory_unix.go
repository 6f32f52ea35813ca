//go:build unix

package memory

import "golang.org/x/sys/unix"

// mapRegion maps n zero bytes, or returns nil.
func mapRegion(n int) []byte {
	region, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return region
}

func unmapRegion(region []byte) {
	_ = unix.Munmap(region) // fails only for what mapRegion did not return
}
