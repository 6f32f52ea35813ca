// Package grid finds the codes of a group of weights: its scale and zero point, plain
// or searched for the least squared error, the rows of a matrix, and what that did to
// them.
//
// Scales are rounded to F16 before codes are chosen. The result depends only on the
// weights and the format, never on threads or order. The package imports nothing but the
// kernels.
package grid
