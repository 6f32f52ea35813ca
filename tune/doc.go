// Package tune searches for the smallest recipe that keeps a model within an
// accuracy goal, or the most accurate one within limits of size, speed and memory.
//
// The search has two levels. Screening quantizes every matrix by every spec that is
// offered, each alone, and measures what that loses: the error of the matrix's
// outputs for all of them, the KL divergence of the model for those that are worth
// it. From these scores an exact solver picks recipes for any size. Trials quantize a
// few of them for real and evaluate them, paired with the float model and stopped
// early when they cannot pass any more; each corrects what the scores predict of the
// next, until the goal is reached at the smallest size or the time is spent. What is
// found is refined by a method that trains whole layers, if one is offered.
//
// # Rooms
//
//	space     what is offered: specs, classes of matrices, options
//	knapsack  the mathematics of choosing an option of every class
//	solve     the problem, solved as a value
//	search    evidence, and the policy that says what to measure next
//	work      one measurement as plain data, and the worker that does it here
//	score     screening: which measurements of options, and what they tell of others
//	speed     what decoding takes of each option
//	journal   runs, kept
//
// Imports go from the end of this list to its beginning. This package is the
// scheduler over them all: it lets the policy decide, has the work done, minds the
// budget, keeps the journal and saves what was found.
//
// # Rules of the floor
//
// Every trial is measured on the real kernels. Every score and every trial is on
// disk the moment it is known. There is always a best so far, and an ending of any
// kind saves it or leaves what is needed to go on.
//
// The package knows nothing of screens.
package tune
