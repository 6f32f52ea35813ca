// Package train trains roundings by signed gradients: the codes, scales and zero points
// of matrices, against the outputs of a float layer (Layer) or of the whole float model
// (Model). It knows no methods, recipes or checkpoints.
package train
