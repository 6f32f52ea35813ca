// Package search decides what to measure next, from what is known alone.
//
// Evidence is the trials that were measured. A Policy says from a problem
// (solve.Problem) and evidence which recipe to try next: it measures nothing, keeps
// nothing and looks at no clock, so that a search that goes on after a crash, or
// elsewhere, goes on in the same way. What trials lose corrects what the scores
// predict (Corrections).
package search
