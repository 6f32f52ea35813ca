package kernels

import (
	"fmt"
	"slices"
	"strings"
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

// MBuckets are the batch sizes that choices are made for; a batch takes the
// choice of the first bucket that holds it, or of the last.
func MBuckets() []int { return []int{1, 4, 16, 64, 256} }

func bucketOf(m int) int {
	buckets := MBuckets()
	for _, b := range buckets {
		if m <= b {
			return b
		}
	}
	return buckets[len(buckets)-1]
}

// way is how a product is computed.
type way struct {
	kernel  int // index into Engine.ints
	workers int // threads: all, or one, which needs no handover
	block   int // panels of weights that all tokens meet before the next
}

// panelBlock is the usual block of a batch: panels that stay in the second-level
// cache while tile after tile of tokens passes by, and few enough to stop soon
// when cancelled.
const panelBlock = 16

// Measurement is one candidate's result.
type Measurement struct {
	Kernel  string  `json:"kernel"`
	ISA     ISA     `json:"isa"`
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
	if m.Block != panelBlock {
		name += fmt.Sprintf(" by %d", m.Block)
	}
	return name
}

// Choice is the selector's verdict on one shape.
type Choice struct {
	Shape
	Kernel     string        `json:"kernel"`
	ISA        ISA           `json:"isa"`
	Workers    int           `json:"workers"`
	Block      int           `json:"block"`
	Reason     string        `json:"reason"`
	Roofline   float64       `json:"roofline_pct"` // of the bandwidth or peak limit, whichever is nearer
	Busy       float64       `json:"busy"`         // share of the processors' time that other programs took meanwhile
	Candidates []Measurement `json:"candidates"`   // fastest first
}

// Table is the result of a selection on one machine.
type Table struct {
	CPU     string `json:"cpu"`
	Build   string `json:"build"`
	ISA     ISA    `json:"isa"`
	Threads int    `json:"threads"`
	Limits
	Choices []Choice `json:"choices"`
}

// choiceKey identifies a choice at run time.
type choiceKey struct {
	scheme       Scheme
	n, k, bucket int
}

// Table returns the installed choices, nil before the first selection.
func (e *Engine) Table() *Table { return e.table.Load() }

// Kernels lists the names of the quantized kernels the engine may use.
func (e *Engine) Kernels() []string {
	var names []string
	for _, k := range e.ints {
		if !slices.Contains(names, k.String()) {
			names = append(names, k.String())
		}
	}
	return names
}

// Force makes every quantized product use the named kernel, where it exists for
// the format; the empty name returns to the selected ones. Results do not
// change, only speed: a kernel that does not equal the reference is refused with
// ErrWrong.
func (e *Engine) Force(kernel string) error {
	if kernel == "" {
		e.force.Store(nil)
		return nil
	}
	if !slices.Contains(e.Kernels(), kernel) {
		return fmt.Errorf("no kernel is called %q (there are: %s)", kernel, strings.Join(e.Kernels(), ", "))
	}
	for _, k := range e.ints {
		if k.String() == kernel {
			if err := k.verdict(); err != nil {
				return err
			}
		}
	}
	e.force.Store(&kernel)
	return nil
}

// Forced returns the name given to Force, or "".
func (e *Engine) Forced() string {
	if f := e.force.Load(); f != nil {
		return *f
	}
	return ""
}

// wayFor picks how to compute a product: with the forced kernel, as measured, or
// with the last kernel of the highest tier.
func (e *Engine) wayFor(w *Linear, m int) way {
	if f := e.force.Load(); f != nil {
		for i, k := range e.ints {
			if k.takes(w.quant.scheme) && k.String() == *f {
				return way{i, e.Threads(), panelBlock}
			}
		}
	}
	if lookup := e.lookup.Load(); lookup != nil {
		if v, ok := (*lookup)[choiceKey{w.quant.scheme, w.n, w.k, bucketOf(m)}]; ok {
			return v
		}
	}
	return e.static(w.quant.scheme)
}

// static is the choice without measurement: the highest tier's largest tile that is
// right.
func (e *Engine) static(s Scheme) way {
	for i, k := range slices.Backward(e.ints) {
		if k.takes(s) && k.verdict() == nil {
			return way{i, e.Threads(), panelBlock}
		}
	}
	panic(fmt.Sprintf("kernels: no kernel of this engine for %s is right", s))
}

// install makes the table's choices those of the engine.
func (e *Engine) install(t *Table) {
	lookup := make(map[choiceKey]way, len(t.Choices))
	for _, c := range t.Choices {
		scheme, err := parseScheme(c.Format)
		if err != nil {
			continue // checked when the table was loaded or made
		}
		for i, k := range e.ints {
			if k.takes(scheme) && k.String() == c.Kernel {
				lookup[choiceKey{scheme, c.N, c.K, c.M}] = way{i, c.Workers, c.Block}
			}
		}
	}
	e.lookup.Store(&lookup)
	e.table.Store(t)
}
