// Package graph is the walker of the house: it compiles the description of a model once
// into steps that compute, and takes texts through them, forward and back.
//
// Every step has its Forward and its gradient side by side; there is no other place where
// a step's arithmetic stands. A [Pass] walks for a session, whose text goes on and whose
// steps keep keys, values and states in a [Cache]. A [Tape] walks for training: it keeps
// what the derivative needs, and takes the gradient of any loss back to the input of a
// block, to the embedding and to the matrices. Everything that a description can have is
// differentiated but the choice of experts, which has no derivative (the weights of the
// chosen have).
//
// # Rules of the floor
//
// A Graph is immutable and shared; a Pass or Tape belongs to one goroutine at a time. What
// matrices read is given to a hook, Pass.Site, which may end the walk. Results do not
// depend on the number of threads, nor on how a text is cut into pieces but for the order
// of sums in float matrices.
//
// The package knows package kernels and the descriptions of model/arch, nothing else:
// no files, no tokens' text, no quantization.
package graph
