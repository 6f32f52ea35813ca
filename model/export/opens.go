package export

import (
	"fmt"

	"nibble/kernels"
	"nibble/model"
)

// Opens says which other programs open a directory that quantizing writes, whose matrices
// are in these schemes, and what to do for the others.
func Opens(c model.Config, scheme func(model.Module) (kernels.Scheme, bool)) string {
	const gguf = "'nibble export --format gguf' writes a file for llama.cpp and what is made of it"
	top := false
	for _, m := range c.Modules() {
		s, ok := scheme(m)
		switch {
		case !ok:
		case s.Table != kernels.Even:
			return fmt.Sprintf("nibble alone: %s is %s, which no other reader of directories has; %s", m.Name, s, gguf)
		case m.Layer < 0:
			return fmt.Sprintf("nibble alone: %s is quantized, at which others fail; 'nibble export --format compressed-tensors' writes what transformers and vLLM open, %s", m.Name, gguf)
		}
		top = top || s.Top > 0
	}
	if top {
		return "transformers and vLLM, which see 4 bits of every row; nibble sees all; " + gguf
	}
	return "transformers with compressed-tensors, and vLLM; " + gguf
}
