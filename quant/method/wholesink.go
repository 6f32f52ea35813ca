package method

import (
	"fmt"

	"nibble/kernels"
	"nibble/model"
	"nibble/quant/pass"
	"nibble/quant/train"
)

// wholeSink holds what the first part of training a whole model gives, and keeps
// it layer by layer.
type wholeSink struct {
	pass.Sink // of the run
	trained   []pass.PlannedModule
	stages    map[int]*wholeStage
	now       *wholeStage // what is put of the stage in work
}

// wholeStage is a finished stage of that part.
type wholeStage struct {
	Matrices map[string]*kernels.QTensor
	Lines    map[string]pass.ModuleReport
	Floats   map[string][]float32
	Replaced []string
}

func newWholeStage() *wholeStage {
	return &wholeStage{map[string]*kernels.QTensor{}, map[string]pass.ModuleReport{}, map[string][]float32{}, nil}
}

func newWholeSink(to pass.Sink, layers int) *wholeSink {
	s := &wholeSink{Sink: to, stages: map[int]*wholeStage{}, now: newWholeStage()}
	for layer := -1; layer <= layers; layer++ {
		if st := newWholeStage(); train.KeptState(to, stageName(layer), st) {
			s.stages[layer] = st
		}
	}
	return s
}

func stageName(layer int) string { return fmt.Sprintf("layer-%d", layer) }

// PutQ implements pass.Sink.
func (s *wholeSink) PutQ(m model.Module, q *kernels.QTensor, line pass.ModuleReport) error {
	s.now.Matrices[m.Name], s.now.Lines[m.Name] = q, line
	return nil
}

// PutFloats implements pass.Sink.
func (s *wholeSink) PutFloats(name string, v []float32) error {
	s.now.Floats[name] = v
	return nil
}

// EndStage implements pass.Sink.
func (s *wholeSink) EndStage(layer int, replaced []string) error {
	s.now.Replaced = replaced
	s.stages[layer], s.now = s.now, newWholeStage()
	return train.KeepState(s.Sink, stageName(layer), s.stages[layer])
}

// Line implements pass.Sink.
func (s *wholeSink) Line(m model.Module) (pass.ModuleReport, bool) {
	for _, st := range s.stages {
		if line, ok := st.Lines[m.Name]; ok {
			return line, true
		}
	}
	return pass.ModuleReport{}, false
}

// Q implements pass.Sink.
func (s *wholeSink) Q(m model.Module) (*kernels.QTensor, error) {
	for _, st := range s.stages {
		if q, ok := st.Matrices[m.Name]; ok {
			return q, nil
		}
	}
	return nil, model.ErrNotFound
}

// Replaced implements pass.Sink.
func (s *wholeSink) Replaced(layer int) ([]string, bool) {
	st, ok := s.stages[layer]
	if !ok {
		return nil, false
	}
	return st.Replaced, true
}

// Floats implements pass.Sink.
func (s *wholeSink) Floats(name string) ([]float32, error) {
	for _, st := range s.stages {
		if v, ok := st.Floats[name]; ok {
			return v, nil
		}
	}
	return nil, model.ErrNotFound
}
