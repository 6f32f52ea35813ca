// Package selector measures the kernels of products on this machine, chooses among them
// and keeps the choices in files.
package selector
