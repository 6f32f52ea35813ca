package workbench

import (
	"context"
	"testing"
	"time"
)

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		text, row string
		want      bool
	}{
		{"", "anything", true},
		{"pass", "3 passed tuned", true},
		{"PASS tuned", "3 passed Tuned", true},
		{"pass front", "3 passed tuned", false},
		{"!pass", "3 passed tuned", false},
		{"!pass", "3 missed tuned", true},
		{"tuned !", "3 missed tuned", true}, // a word still being written
	} {
		if got := (&filter{text: c.text}).passes(c.row); got != c.want {
			t.Errorf("%q on %q: %v", c.text, c.row, got)
		}
	}
}

func TestGate(t *testing.T) {
	var g gate
	ctx, cancel := context.WithCancel(context.Background())
	g.wait(ctx) // open
	passed := make(chan struct{})
	through := func() {
		g.wait(ctx)
		passed <- struct{}{}
	}
	held := func() bool {
		select {
		case <-passed:
			return false
		case <-time.After(20 * time.Millisecond):
			return true
		}
	}
	if !g.toggle() {
		t.Fatal("the gate did not shut")
	}
	go through()
	if !held() {
		t.Fatal("a shut gate let a job through")
	}
	if g.toggle() {
		t.Fatal("the gate did not open")
	}
	<-passed
	g.toggle()
	go through()
	g.open()
	<-passed
	g.toggle()
	go through()
	cancel()
	<-passed // cancelling goes through a shut gate
}
