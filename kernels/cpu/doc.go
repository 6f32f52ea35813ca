// Package cpu knows the machine: its instruction-set tiers, what they need of a CPU, how
// long the process waited for one, and the assembly that measures limits. It imports no
// other package of nibble.
package cpu
