//go:build !evex

package kernels

const evex = false
