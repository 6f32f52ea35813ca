// Package speed measures what decoding takes of each option, so that the speed of a
// recipe is known before it is made.
package speed
