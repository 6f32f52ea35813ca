// Package reference interprets a description of a model in plain float64, a whole
// text at a time and without a cache: what every step means, in the fewest lines.
// It is the oracle that the runtime is tested against, and too slow for anything
// else.
package reference
