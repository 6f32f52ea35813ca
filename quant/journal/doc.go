// Package journal keeps on disk what a run has finished, so that the same run goes on
// from there after a crash, and the report of a run that is complete.
package journal
