// Package quant turns float weights into INT4 and INT8. It is the floor's front: Run
// quantizes a checkpoint into a directory, Apply in memory, Look says what Run would
// meet, Screen tries matrices one by one; what else callers need of the rooms is named
// here as well.
//
// The rooms, each importing only those before it:
//
//	grid     the codes of a group of weights
//	recipe   the language of recipes
//	calib    what a text tells of a model's inputs
//	train    roundings trained by gradients
//	cost     what methods take of time and memory
//	pass     the way through a checkpoint, and what a method is
//	method   the methods, one file each
//	plan     size, memory, time and disk before any work
//	journal  what is finished, on disk
//
// # Rules of the floor
//
// Scales are rounded to F16, as they are stored, before codes are chosen: what
// is evaluated in memory is bit for bit what is saved. The result depends only
// on the weights and the recipe, never on threads or order.
//
// Checkpoints stream: rows are decoded as they are quantized, and a matrix whose
// codes are written gives its mapped pages back.
//
// The floor knows nothing of search or screens.
package quant
