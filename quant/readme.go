package quant

import (
	_ "embed"
)

// Readme tells users what the package does.
//
//go:embed README.md
var Readme string
