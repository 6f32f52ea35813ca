// Package gguf reads and writes GGUF files, version 3, and the tensor types
// nibble stores in them (format: ggml's docs/gguf.md; blocks: ggml-common.h and
// ggml-quants.c, https://github.com/ggml-org/ggml).
//
// A file is a header of typed keys and values, a list of tensors and their
// data, all little endian:
//
//	"GGUF" version:u32 tensors:u64 keys:u64
//	keys    x { key:string type:u32 value }
//	tensors x { name:string n:u32 dims:u64 x n type:u32 offset:u64 }
//	padding to the alignment, then every tensor's data, each padded likewise
//
// A string is its length as u64 and its bytes. Dims begin with the length of a
// row. The package knows no models: what the keys mean is its callers' business.
package gguf
