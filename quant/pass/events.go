package pass

import (
	"nibble/quant/grid"
)

// Event is anything quantization reports while it runs.
type Event interface{ EventName() string }

// Listener receives events; it must not block. It may be nil.
type Listener func(Event)

// Send tells an event.
func (l Listener) Send(e Event) {
	if l != nil {
		l(e)
	}
}

// ModuleDone reports a finished matrix.
type ModuleDone struct {
	Module string `json:"module"`
	Spec   string `json:"spec"`
	Note   string `json:"note,omitempty"` // where the method could not do all it does
	grid.Stats
	Restored   bool  `json:"restored,omitempty"` // an earlier run finished it
	Done       int   `json:"done"`
	Total      int   `json:"total"`
	DoneParams int64 `json:"done_params"`
	Params     int64 `json:"params"`
}

// Progress reports a matrix in work, at least once each.
type Progress struct {
	Module     string  `json:"module"`
	DoneParams int64   `json:"done_params"` // of all matrices
	Params     int64   `json:"params"`
	Seconds    float64 `json:"seconds"`
	Estimate   float64 `json:"eta_seconds"`
}

// EventName implements Event.
func (Progress) EventName() string { return "quantize_progress" }

// EventName implements Event.
func (ModuleDone) EventName() string { return "quantize_module" }
