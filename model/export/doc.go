// Package export writes a checkpoint in another program's file format with the
// same weights: the codes of a quantized matrix are carried, not computed again.
//
// What a format cannot hold is refused before any work. What was written is read
// back and compared value by value before the file takes its name, so that
// Result.Exact is observed and not promised.
//
// The formats are GGUF (package gguf), for the programs of the llama.cpp family
// (https://github.com/ggml-org/llama.cpp), and the layouts of Hugging Face directories:
// compressed-tensors, GPTQ and AWQ.
package export
