package selector

import (
	"fmt"

	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/matmul"
)

// Shape is one product that a model runs: what the selector chooses for.
type Shape struct {
	Op      string `json:"op"`     // "matmul"
	Format  string `json:"format"` // as Linear.Format
	N       int    `json:"n"`
	K       int    `json:"k"`
	M       int    `json:"m"` // tokens: one of MBuckets
	Threads int    `json:"threads"`
}

// Measurement is one candidate's result.
type Measurement struct {
	Kernel  string  `json:"kernel"`
	ISA     cpu.ISA `json:"isa"`
	Workers int     `json:"workers"` // threads that share the product
	Block   int     `json:"block"`   // panels of weights that all tokens meet before the next
	NS      float64 `json:"ns"`      // of one product, in the round that was disturbed least
	GOPS    float64 `json:"gops"`    // 2*M*N*K operations
	GBs     float64 `json:"gbps"`    // weight bytes streamed
	OK      bool    `json:"ok"`      // equal to the reference bit for bit
	Note    string  `json:"note,omitempty"`
}

// String names the candidate: "avx512vnni 16x4", with what is not usual about it:
// "avx512vnni 16x4 alone", "avx512vnni 32x6 by 8".
func (m Measurement) String() string {
	name := m.Kernel
	if m.Workers == 1 {
		name += " alone"
	}
	if m.Block != matmul.PanelBlock {
		name += fmt.Sprintf(" by %d", m.Block)
	}
	return name
}

// Choice is the selector's verdict on one shape.
type Choice struct {
	Shape
	Kernel     string        `json:"kernel"`
	ISA        cpu.ISA       `json:"isa"`
	Workers    int           `json:"workers"`
	Block      int           `json:"block"`
	Reason     string        `json:"reason"`
	Roofline   float64       `json:"roofline_pct"` // of the bandwidth or peak limit, whichever is nearer
	Busy       float64       `json:"busy"`         // share of the processors' time that other programs took meanwhile
	Candidates []Measurement `json:"candidates"`   // fastest first
}

// Table is the result of a selection on one machine.
type Table struct {
	CPU     string  `json:"cpu"`
	Build   string  `json:"build"`
	ISA     cpu.ISA `json:"isa"`
	Threads int     `json:"threads"`
	Limits
	Choices []Choice `json:"choices"`
}

// Table returns the installed choices, nil before the first selection.
func (e *Selector) Table() *Table { return e.table.Load() }

// install makes the table's choices those that products take.
func (e *Selector) install(t *Table) {
	var chosen []matmul.Chosen
	for _, c := range t.Choices {
		if scheme, err := format.Parse(c.Format); err == nil { // checked when the table was loaded or made
			chosen = append(chosen, matmul.Chosen{Scheme: scheme, N: c.N, K: c.K, M: c.M, Kernel: c.Kernel, Workers: c.Workers, Block: c.Block})
		}
	}
	e.Install(chosen)
	e.table.Store(t)
}
