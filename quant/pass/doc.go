// Package pass goes through a checkpoint stage by stage (the embedding, each layer, the
// output head) and has methods quantize its matrices. Method is what a method declares
// and does; Pass is what it gets to do that with; Sink takes what is finished, and gives
// back what an earlier pass with the same arguments had finished.
//
// The package names no method.
package pass
