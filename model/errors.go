package model

import (
	"errors"
	"fmt"

	"nibble/model/arch"
)

// The kinds of failure a caller may want to tell apart. Messages name the file,
// what is wrong and what to do.
var (
	ErrNotFound    = errors.New("not found")
	ErrNoConfig    = errors.New("not a model directory")
	ErrTruncated   = errors.New("file is truncated")
	ErrCorrupt     = errors.New("file is corrupt")
	ErrArch        = errors.New("architecture not supported")
	ErrUnsupported = arch.ErrUnsupported
	ErrTokens      = errors.New("the tokenizer does not fit the model")
	ErrNotFinite   = errors.New("weights are not finite")

	// ErrNoWeights is of a directory that holds a config.json, and no weights.
	ErrNoWeights = fmt.Errorf("%w: the directory has no weights in safetensors form", ErrNotFound)
)
