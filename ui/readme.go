// Package ui is the top floor: the workbench, the command line, and what they
// share. It has no code itself.
package ui

import _ "embed"

// Readme tells users of the workbench.
//
//go:embed README.md
var Readme string
