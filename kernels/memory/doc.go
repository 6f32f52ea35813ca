// Package memory allocates large blocks that begin on cache lines, outside the Go heap
// and on huge pages where the system has them.
package memory
