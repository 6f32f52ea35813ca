package work

import (
	"context"
	"testing"
	"time"
)

// Time in which the process is stopped is not counted, that of a busy machine is;
// what the listener takes is taken out once, whether or not the process is stopped
// meanwhile.
func TestStoppedIsFree(t *testing.T) {
	begun := time.Now()
	at := func(seconds float64) time.Time { return begun.Add(time.Duration(seconds * float64(time.Second))) }
	c := &Clock{start: begun, beaten: begun}
	for _, x := range []struct {
		what    string
		seconds float64
		call    func()
		held    float64 // afterwards
	}{
		{"a beat in time", 0.2, nil, 0},
		{"some beats missed", 2, nil, 0},
		{"stopped", 62, nil, 60},
		{"beating again", 62.2, nil, 60},
		{"it is paused", 62.4, func() { c.outside++ }, 60},
		{"stopped while it is paused", 80, nil, 60},
		{"it goes on", 90, func() { c.outside--; c.held += 27600 * time.Millisecond }, 87.6},
		{"a beat after it", 90.2, nil, 87.6},
		{"stopped once more", 100.2, nil, 97.6},
	} {
		if x.call != nil {
			x.call()
		}
		c.beat(at(x.seconds))
		if got := c.held.Seconds(); got < x.held-1e-6 || got > x.held+1e-6 {
			t.Errorf("%s: %.1f s are not counted, want %.1f", x.what, got, x.held)
		}
	}
	silent := &Clock{start: begun}
	silent.beat(at(100))
	if silent.held != 0 {
		t.Errorf("without a heart %v are not counted", silent.held)
	}
}

// What follows a stop sees the time without it at once, even before the heart beats.
func TestHeart(t *testing.T) {
	c := &Clock{start: time.Now().Add(-time.Minute)}
	ctx, cancel := context.WithCancel(context.Background())
	c.Watch(ctx)
	c.mu.Lock()
	c.beaten = c.beaten.Add(-50 * time.Second)
	c.mu.Unlock()
	if got := c.Elapsed(); got > 15*time.Second {
		t.Errorf("after a stop of 50 of 60 s %v are counted", got)
	}
	c.mu.Lock()
	before := c.beaten
	c.mu.Unlock()
	beats := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.beaten.After(before)
	}
	for range 1000 { // until the heart has beaten by itself
		if beats() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !beats() {
		t.Error("the heart does not beat")
	}
	cancel()
	for range 1000 {
		c.mu.Lock()
		ended := c.beaten.IsZero()
		c.mu.Unlock()
		if ended {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the heart beats on")
}
