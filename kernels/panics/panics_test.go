package panics

import (
	"strings"
	"testing"
)

func explode() { panic("boom") }

// A panic reaches who waits, through any number of goroutines, with the stack of
// where it was.
func TestCarried(t *testing.T) {
	c := Catch(func() {
		Go(func() { Go(explode).Wait() }).Wait()
	})
	if c == nil || c.Value != "boom" || !strings.Contains(string(c.Stack), "panics.explode") {
		t.Fatalf("caught %+v", c)
	}
	if text := c.Error(); !strings.HasPrefix(text, "boom\n") || !strings.Contains(text, "panics.explode") {
		t.Errorf("as an error: %s", text)
	}
}

func TestNoPanic(t *testing.T) {
	ran := false
	g := Go(func() { ran = true })
	<-g.Done()
	if c := Catch(g.Wait); c != nil || !ran {
		t.Errorf("ran: %v, caught %v", ran, c)
	}
}
