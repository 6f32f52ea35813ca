// Package cost has the words in which methods say what they take: how fast a machine
// does each kind of work, and what follows from a model's shapes and a calibration's
// length. Time is in seconds, memory in bytes. It measures nothing.
package cost
