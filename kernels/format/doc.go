// Package format holds the storage formats of quantized matrices: a registry, the logical
// tensor that everything else starts from, and its packing for the kernels. It computes
// no products.
package format
