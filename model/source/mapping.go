package source

import (
	"fmt"
	"os"
	"sync"
	"unsafe"
)

// Mapping is a file in memory, read-only, page by page as it is used.
type Mapping struct {
	Data  []byte
	Stamp Stamp

	file  *os.File // tells what became of the file, whatever has its name by then
	unmap func() error
}

// mappings are those that a fault can lie in.
var mappings struct {
	sync.Mutex
	all []*Mapping
}

// Map maps a regular file.
func Map(path string) (*Mapping, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	m := &Mapping{file: f}
	if m.Stamp, err = stampOf(path, f); err == nil {
		m.Data, m.unmap, err = mapFile(f, m.Stamp.size)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	mappings.Lock()
	defer mappings.Unlock()
	mappings.all = append(mappings.all, m)
	return m, nil
}

// Restamp stamps the mapped file as it is now.
func (m *Mapping) Restamp() (Stamp, error) { return stampOf(m.Stamp.path, m.file) }

// Close unmaps the file. Its data must not be used afterwards.
func (m *Mapping) Close() error {
	mappings.Lock()
	defer mappings.Unlock()
	for i, other := range mappings.all {
		if other == m {
			mappings.all = append(mappings.all[:i], mappings.all[i+1:]...)
			m.Data = nil
			m.file.Close() //nolint:errcheck // only read
			return m.unmap()
		}
	}
	return nil // closed already
}

// Release gives the pages that lie wholly inside part, of the mapping's data or
// not, back to the system. Reading them again reads the file again.
func (m *Mapping) Release(part []byte) {
	if at, ok := m.offset(part); ok {
		releasePages(m.Data, at, at+len(part))
	}
}

// offset returns where part lies in the mapping's data, if it does.
func (m *Mapping) offset(part []byte) (int, bool) {
	if len(part) == 0 {
		return 0, false
	}
	at, ok := m.find(uintptr(unsafe.Pointer(&part[0])))
	return at, ok && at <= len(m.Data)-len(part)
}

// find returns where an address lies in the mapping's data, if it does.
func (m *Mapping) find(address uintptr) (int, bool) {
	if len(m.Data) == 0 {
		return 0, false
	}
	begin := uintptr(unsafe.Pointer(&m.Data[0]))
	if address < begin || address-begin >= uintptr(len(m.Data)) {
		return 0, false
	}
	return int(address - begin), true
}
