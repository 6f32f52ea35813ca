package work

import (
	"context"
	"sync"
)

// Pause holds a search while a user wants it to rest. The zero Pause does not; a nil one
// never does.
type Pause struct {
	mu   sync.Mutex
	over chan struct{} // closed when the rest ends; nil while there is none
}

// Toggle begins or ends a rest, and reports whether there is one now.
func (p *Pause) Toggle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != nil {
		close(p.over)
		p.over = nil
		return false
	}
	p.over = make(chan struct{})
	return true
}

// End ends a rest, if there is one.
func (p *Pause) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != nil {
		close(p.over)
		p.over = nil
	}
}

// Wait returns when there is no rest, or ctx is done.
func (p *Pause) Wait(ctx context.Context) {
	if p == nil {
		return
	}
	p.mu.Lock()
	over := p.over
	p.mu.Unlock()
	if over == nil {
		return
	}
	select {
	case <-over:
	case <-ctx.Done():
	}
}
