package workbench

import (
	tea "github.com/charmbracelet/bubbletea"

	"nibble/kernels/panics"
)

// guard is a model whose commands, which Bubble Tea runs in goroutines of its own,
// hand a panic to crash. One of the model itself arrives where the program is run.
type guard struct {
	tea.Model
	crash func(*panics.Carried)
}

// Init implements tea.Model.
func (g guard) Init() tea.Cmd { return g.command(g.Model.Init()) }

// Update implements tea.Model.
func (g guard) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	m, cmd := g.Model.Update(msg)
	return guard{m, g.crash}, g.command(cmd)
}

func (g guard) command(cmd tea.Cmd) tea.Cmd {
	if cmd == nil {
		return nil
	}
	return func() (msg tea.Msg) {
		if c := panics.Catch(func() { msg = cmd() }); c != nil {
			g.crash(c)
		}
		if batch, ok := msg.(tea.BatchMsg); ok {
			for i := range batch {
				batch[i] = g.command(batch[i])
			}
		}
		return msg
	}
}
