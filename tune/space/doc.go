// Package space says what a search may choose from: the specs that are offered, and
// for every class of matrices that share a choice the options that differ, with
// what each takes.
//
// A spec says how a matrix is stored (quant.Spec). An option is a spec as it applies
// to a class. The package measures nothing; it reads a few weights, to leave out
// specs that cannot hold them.
package space
