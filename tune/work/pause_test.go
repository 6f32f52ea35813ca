package work

import (
	"context"
	"testing"
	"time"
)

func TestPause(t *testing.T) {
	var p Pause
	ctx, cancel := context.WithCancel(context.Background())
	p.Wait(ctx) // there is no rest
	(*Pause)(nil).Wait(ctx)
	passed := make(chan struct{})
	through := func() {
		p.Wait(ctx)
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
	if !p.Toggle() {
		t.Fatal("the rest did not begin")
	}
	go through()
	if !held() {
		t.Fatal("a job does not rest")
	}
	if p.Toggle() {
		t.Fatal("the rest did not end")
	}
	<-passed
	p.Toggle()
	go through()
	p.End()
	<-passed
	p.Toggle()
	go through()
	cancel()
	<-passed // cancelling ends it
}
