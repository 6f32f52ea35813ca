// Package score measures what each option of each class loses, alone in the float
// model, and keeps what it measured for other searches.
//
// First the error of the matrices' outputs is measured, for all options, then the KL
// divergence of the model, for those that are worth it. What there is no time for is
// estimated from what was measured, and from what small models have shown. The
// measurements themselves are a work.Worker's.
package score
