package quant

// Started opens a run.
type Started struct {
	Recipe  string `json:"recipe"`
	Modules int    `json:"modules"` // matrices that will be quantized
	Params  int64  `json:"params"`  // weights in them
}

// Resumed reports that a run goes on from an earlier one.
type Resumed struct {
	Modules int `json:"modules"` // matrices that are finished
	Damaged int `json:"damaged"` // of what was kept, and is made again
}

// EventName implements Event.
func (Resumed) EventName() string { return "quantize_resumed" }

// EventName implements Event.
func (Started) EventName() string { return "quantize_started" }
