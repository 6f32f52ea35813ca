package workbench

import (
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"nibble/kernels/panics"
)

// explosive panics in the command of a message, alone or in a batch.
type explosive struct{}

func (explosive) View() string { return "" }
func (e explosive) Init() tea.Cmd {
	return func() tea.Msg { panic("boom") }
}
func (e explosive) Update(tea.Msg) (tea.Model, tea.Cmd) {
	quiet := func() tea.Msg { return tickMsg{} }
	return e, tea.Batch(quiet, e.Init())
}

// Whatever command panics, it is told to the owner and nobody else.
func TestGuard(t *testing.T) {
	var caught []any
	var m tea.Model = guard{explosive{}, func(c *panics.Carried) { caught = append(caught, c.Value) }}
	m.Init()()
	m, cmd := m.Update(nil)
	if _, ok := m.(guard); !ok {
		t.Errorf("after an update the model is a %T", m)
	}
	for _, cmd := range cmd().(tea.BatchMsg) {
		cmd()
	}
	if len(caught) != 2 || caught[0] != "boom" || caught[1] != "boom" {
		t.Errorf("caught %v", caught)
	}
}
