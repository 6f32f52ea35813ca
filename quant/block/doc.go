// Package block interprets the description of a model's blocks so that they can be
// differentiated: a forward pass in float32 that keeps what its derivative needs,
// and the gradient of any loss with respect to a block's input and its matrices. It
// serves the methods that train the rounding of weights.
//
// Everything that an arch.Block can have is differentiated but the choice of experts,
// which has no derivative (the weights of the chosen have). Keys and values of another
// block are an input like any other.
//
// Every product runs on the engine's float kernels. Results do not depend on the
// number of threads.
package block
