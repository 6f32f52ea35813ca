package model_test

import (
	"fmt"

	"nibble/model"
)

// A checkpoint is opened without reading its weights; a matrix is read when it is
// asked for.
func ExampleOpen() {
	ck, err := model.Open("demo") // or a Hugging Face directory, or a GGUF file
	if err != nil {
		panic(err)
	}
	defer ck.Close()
	fmt.Println(ck.Config.Arch, ck.DType(), ck.Params(), "parameters,", ck.Config.Layers(), "layers")
	for _, m := range ck.Config.Modules()[:2] {
		fmt.Println(m.Name, m.Rows, "x", m.Cols)
	}
	// Output:
	// LlamaForCausalLM BF16 1115520 parameters, 5 layers
	// model.embed_tokens 1024 x 128
	// model.layers.0.self_attn.q_proj 128 x 128
}
