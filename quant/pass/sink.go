package pass

import (
	"nibble/kernels"
	"nibble/model"
	"nibble/quant/grid"
)

// Sink takes what a pass finishes, and gives back what an interrupted pass with
// the same arguments finished before.
type Sink interface {
	// putQ takes a quantized matrix and its line in the report.
	PutQ(m model.Module, q *kernels.QTensor, line ModuleReport) error
	// putFloats takes a tensor that a transformation replaced, rounded to the type
	// that it is stored in.
	PutFloats(name string, v []float32) error
	// endStage says that all of a stage has been put, and which tensors were
	// replaced in it.
	EndStage(layer int, replaced []string) error

	// line returns the line of a matrix that is finished, and q the matrix.
	Line(m model.Module) (ModuleReport, bool)
	Q(m model.Module) (*kernels.QTensor, error)
	// replaced returns which tensors were replaced in a stage that was ended and whose
	// replacements are there, and floats one of them.
	Replaced(layer int) ([]string, bool)
	Floats(name string) ([]float32, error)

	// keep makes the state of something that takes long durable, in place of what had
	// its name, and kept returns it.
	Keep(name string, data []byte) error
	Kept(name string) ([]byte, bool)
}

// ModuleReport is a matrix's line in the report.
type ModuleReport struct {
	Module string `json:"module"`
	Spec   string `json:"spec"`
	Bytes  int64  `json:"bytes"`
	Note   string `json:"note,omitempty"`
	Silent int    `json:"silent_inputs,omitempty"` // 0 for the whole calibration
	Coarse int    `json:"coarse_rows,omitempty"`   // whose weights are too small for the scales
	grid.Stats
}

// Fresh is the part of a sink to which nothing was put before.
type Fresh struct{}

func (Fresh) EndStage(int, []string) error { return nil }

func (Fresh) Line(model.Module) (ModuleReport, bool) { return ModuleReport{}, false }

func (Fresh) Q(model.Module) (*kernels.QTensor, error) { return nil, model.ErrNotFound }

func (Fresh) Replaced(int) ([]string, bool) { return nil, false }

func (Fresh) Floats(string) ([]float32, error) { return nil, model.ErrNotFound }

func (Fresh) Keep(string, []byte) error { return nil }

func (Fresh) Kept(string) ([]byte, bool) { return nil, false }
