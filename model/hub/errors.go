package hub

import "errors"

// The kinds of failure. Messages name the model or file, what is wrong and what to do.
var (
	ErrRef       = errors.New("not the name of a model")
	ErrOffline   = errors.New("the hub is not asked")
	ErrNotFound  = errors.New("the hub has no such thing")
	ErrToken     = errors.New("the hub does not let everybody in")
	ErrGated     = errors.New("the model is gated")
	ErrBusy      = errors.New("the hub has no time")
	ErrAnswer    = errors.New("the answer is not the hub's")
	ErrNetwork   = errors.New("the hub cannot be reached")
	ErrDamaged   = errors.New("what came is not what the hub announced")
	ErrHostile   = errors.New("the hub names what no model has")
	ErrNoWeights = errors.New("there are no weights that nibble reads")
	ErrDisk      = errors.New("the disk is too small")
)
