// Package plan says what quantizing takes and gives before any work: size, memory, time,
// disk, and where what is done differs from the letter of a recipe. It measures this
// machine for that, once.
package plan
