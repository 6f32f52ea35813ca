package tokenizer_test

import (
	"fmt"

	"nibble/model/demo"
	"nibble/model/tokenizer"
)

// Text becomes token ids and text again.
func ExampleLoad() {
	data, err := demo.Files.ReadFile("tokenizer.json")
	if err != nil {
		panic(err)
	}
	tok, err := tokenizer.Load(data, nil)
	if err != nil {
		panic(err)
	}
	ids := tok.Encode("Once upon a time", tokenizer.EncodeOptions{})
	for _, id := range ids {
		fmt.Printf("%q ", tok.Decode([]int32{id}))
	}
	fmt.Println(tok.Decode(ids))
	// Output: "On" "ce" " upon" " a" " time" Once upon a time
}
