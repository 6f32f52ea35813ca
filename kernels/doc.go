// Package kernels is nibble's CPU tensor library: the INT4 and INT8 weight
// layout, the compute kernels with their instruction-set tiers, the thread pool
// that runs them and the selector that measures which one to use.
//
// # Rules of the floor
//
// Every kernel and every operation on vectors computes the same arithmetic, bit for
// bit, whatever its tier, tile shape, thread count or batch size; see [QTensor],
// mulGeneric and dotsGeneric.
// The selector may therefore change how fast a model is, never what it says,
// and a prefill in one batch equals the same tokens fed one by one.
//
// Every kernel has a plain Go reference in this package that is its
// documentation and its test oracle.
//
// The package knows nothing of models, files of weights, or screens: it never
// imports another package of nibble, but those of its own folder.
package kernels
