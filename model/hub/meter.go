package hub

import (
	"sync"
	"time"
)

// meter adds up what comes of all files.
type meter struct {
	listen Listener

	mu          sync.Mutex
	files       map[string]*moving
	done, total int64 // bytes, without what was there before
	came        int64 // over the network, also what was thrown away
	told        time.Time
}

// moving is how far a file is.
type moving struct{ had, at int64 }

// expect counts a file that will come.
func (m *meter) expect(f File) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.total += max(0, f.Size)
}

// begin says how much of a file is there already.
func (m *meter) begin(name string, had int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files == nil {
		m.files = map[string]*moving{}
	}
	m.files[name] = &moving{had, had}
	m.total = max(0, m.total-had)
}

// at says how far a file is now; less than before is that it begins again.
func (m *meter) at(name string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if n < f.at {
		m.total += f.had
		m.done -= f.at - f.had
		f.had, f.at = 0, 0
	}
	m.done += n - f.at
	m.came += n - f.at
	f.at = n
	if now := time.Now(); now.Sub(m.told) >= 100*time.Millisecond {
		m.told = now
		m.listen(Progress{name, m.done, max(m.done, m.total)})
	}
}
