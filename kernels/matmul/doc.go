// Package matmul multiplies activations by prepared matrices, quantized and float: the
// kernels of every tier and format, how they are composed of generated tiles, and which
// one a product takes. Every kernel gives the bits of its reference, MulGeneric or
// dotsGeneric. What is measured to choose among them is in package selector.
package matmul
