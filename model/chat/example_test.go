package chat_test

import (
	"context"
	"fmt"

	"nibble/model/chat"
)

// A conversation becomes the text that the model was trained to go on from.
func ExampleTemplate_Render() {
	t, err := chat.Parse("{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}", map[string]string{"bos_token": "<s>"})
	if err != nil {
		panic(err)
	}
	text, err := t.Render(context.Background(), []chat.Message{{Role: "user", Content: "Hello"}}, true)
	if err != nil {
		panic(err)
	}
	fmt.Println(text)
	// Output: <s><|user|>Hello<|assistant|>
}
