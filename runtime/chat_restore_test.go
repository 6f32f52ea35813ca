package runtime

import (
	"context"
	"testing"

	"nibble/model/chat"
)

// A conversation that is restored goes on as it would have, and computes only what is
// not in the cache.
func TestRestore(t *testing.T) {
	m, _ := story(t)
	ctx, o := context.Background(), GenOptions{MaxTokens: 8}
	c, err := NewChat(m, "")
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.Send(ctx, "A story about a dog.", o, nil)
	if err != nil {
		t.Fatal(err)
	}
	history := []chat.Message{{Role: "user", Content: "A story about a dog."}, {Role: "assistant", Content: first.Text}}
	second, err := c.Send(ctx, "And a cat?", o, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Restore("", history)
	again, err := c.Send(ctx, "And a cat?", o, nil)
	if err != nil || again.Text != second.Text || again.PromptTokens != 1 {
		t.Errorf("again %+v, %v; first %q", again, err, second.Text)
	}
	c.Restore("Be brief.", nil)
	other, err := NewChat(m, "Be brief.")
	if err != nil {
		t.Fatal(err)
	}
	want, err := other.Send(ctx, "Hello", o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Send(ctx, "Hello", o, nil); err != nil || got.Text != want.Text {
		t.Errorf("with other instructions: %q, %v; want %q", got.Text, err, want.Text)
	}
}
