// Package attention computes causal attention over cached keys and values, its gradient,
// and keeps the caches. Every tier gives the same bits; scoresGeneric and valuesGeneric
// are the references. It imports number, memory, pool, vector and cpu.
package attention
