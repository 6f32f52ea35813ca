// Package tune searches for the smallest recipe that keeps a model within an
// accuracy goal, or the most accurate one within limits of size, speed and memory.
//
// The search has two levels. Screening quantizes every matrix in every way that
// is offered, each alone, and measures what that loses: the error of the matrix's
// outputs for all of them, the KL divergence of the model for those that are worth
// it. From these scores an exact solver picks recipes for any size (package
// knapsack). Confirmation quantizes a few of them for real and evaluates them,
// paired with the float model and stopped early when they cannot pass any more;
// each corrects what the scores predict of the next, until the goal is reached at
// the smallest size or the time is spent. What is found is refined by a method that
// trains whole layers, if one is offered.
//
// # Rules of the floor
//
// Every trial is measured on the real kernels. Every score and every trial is on
// disk the moment it is known. There is always a best so far, and an ending of any
// kind saves it or leaves what is needed to go on.
//
// The package knows nothing of screens.
package tune
