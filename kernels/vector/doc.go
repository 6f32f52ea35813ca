// Package vector has the operations on whole vectors of float32 by tier: norms,
// activations, exponentials, rotations, rounding to codes, transposes. Every tier gives
// the bits of plain Go.
package vector
