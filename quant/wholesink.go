package quant

import (
	"fmt"

	"nibble/kernels"
	"nibble/model"
)

// wholeSink holds what the first part of training a whole model gives, and keeps
// it layer by layer.
type wholeSink struct {
	sink    // of the run
	trained []PlannedModule
	stages  map[int]*wholeStage
	now     *wholeStage // what is put of the stage in work
}

// wholeStage is a finished stage of that part.
type wholeStage struct {
	Matrices map[string]*kernels.QTensor
	Lines    map[string]ModuleReport
	Floats   map[string][]float32
	Replaced []string
}

func newWholeStage() *wholeStage {
	return &wholeStage{map[string]*kernels.QTensor{}, map[string]ModuleReport{}, map[string][]float32{}, nil}
}

func newWholeSink(to sink, layers int) *wholeSink {
	s := &wholeSink{sink: to, stages: map[int]*wholeStage{}, now: newWholeStage()}
	for layer := -1; layer <= layers; layer++ {
		if st := newWholeStage(); keptState(to, stageName(layer), st) {
			s.stages[layer] = st
		}
	}
	return s
}

func stageName(layer int) string { return fmt.Sprintf("layer-%d", layer) }

func (s *wholeSink) putQ(m model.Module, q *kernels.QTensor, line ModuleReport) error {
	s.now.Matrices[m.Name], s.now.Lines[m.Name] = q, line
	return nil
}

func (s *wholeSink) putFloats(name string, v []float32) error {
	s.now.Floats[name] = v
	return nil
}

func (s *wholeSink) endStage(layer int, replaced []string) error {
	s.now.Replaced = replaced
	s.stages[layer], s.now = s.now, newWholeStage()
	return keepState(s.sink, stageName(layer), s.stages[layer])
}

func (s *wholeSink) line(m model.Module) (ModuleReport, bool) {
	for _, st := range s.stages {
		if line, ok := st.Lines[m.Name]; ok {
			return line, true
		}
	}
	return ModuleReport{}, false
}

func (s *wholeSink) q(m model.Module) (*kernels.QTensor, error) {
	for _, st := range s.stages {
		if q, ok := st.Matrices[m.Name]; ok {
			return q, nil
		}
	}
	return nil, model.ErrNotFound
}

func (s *wholeSink) replaced(layer int) ([]string, bool) {
	st, ok := s.stages[layer]
	if !ok {
		return nil, false
	}
	return st.Replaced, true
}

func (s *wholeSink) floats(name string) ([]float32, error) {
	for _, st := range s.stages {
		if v, ok := st.Floats[name]; ok {
			return v, nil
		}
	}
	return nil, model.ErrNotFound
}
