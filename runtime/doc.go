// Package runtime runs a model: sessions with their caches, stacks of texts that go
// layer by layer, sampling, chat and activation taps. What the layers compute is in
// package graph. It shares its name with the standard library's package,
// so every other package of nibble imports it as rt.
//
// # Rules of the floor
//
// A Model is immutable and shared; a Session belongs to one goroutine at a time.
// Quantized products give the same bits whatever the batch size, thread count
// or instruction set, see package kernels.
//
// The package takes weights from package model and arithmetic from package
// kernels. It never touches files or terminals, and it does not know how weights
// were quantized.
package runtime
