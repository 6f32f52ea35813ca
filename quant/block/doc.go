// Package block is a Llama decoder layer that can be differentiated: a forward
// pass in float32 that keeps what its derivative needs, and the gradient of any
// loss with respect to the layer's input and its matrices. It serves the methods
// that train the rounding of weights.
//
// Every product runs on the engine's float kernels. Results do not depend on the
// number of threads.
package block
