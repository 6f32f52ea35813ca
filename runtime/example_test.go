package runtime_test

import (
	"context"
	"fmt"

	"nibble/kernels"
	"nibble/model"
	rt "nibble/runtime"
)

// A model answers in a conversation, the likeliest tokens here.
func ExampleChat_Send() {
	ctx := context.Background()
	eng, err := kernels.New(kernels.Options{Threads: 1})
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	ck, err := model.Open("demo")
	if err != nil {
		panic(err)
	}
	defer ck.Close()
	m, err := rt.Load(ctx, eng, ck)
	if err != nil {
		panic(err)
	}
	c, err := rt.NewChat(m, "")
	if err != nil {
		panic(err)
	}
	turn, err := c.Send(ctx, "What is the opposite of big?", rt.GenOptions{}, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(turn.Text, turn.StopReason)
	// Output: The opposite of big is small. eos
}
