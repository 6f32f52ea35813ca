// Package probe decides when the terminal is asked for its background.
//
// Bubble Tea asks while the program starts, for every command: the terminal's echo
// is off meanwhile, for five seconds where there is no answer, and a signal leaves
// it so. The question is left out in an environment that says CI, so this package
// says so until main begins. It is initialized before Bubble Tea because it needs
// nothing but os.
package probe

import "os"

const quiet = "CI"

var was, had = os.LookupEnv(quiet)

func init() { _ = os.Setenv(quiet, "true") } // at worst the question is asked

// Started gives the environment back as it was.
func Started() {
	if had {
		_ = os.Setenv(quiet, was)
	} else {
		_ = os.Unsetenv(quiet)
	}
}
