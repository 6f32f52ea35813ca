package arch

// Fold is a place where the inputs of matrices can be scaled without changing what
// the model computes: what makes the inputs is divided by what the readers'
// columns are multiplied by.
type Fold struct {
	Readers []*Linear
	Norm    *Norm   // makes the inputs, or
	Source  *Linear // this matrix does, each of its rows linearly
	Repeat  int     // heads of the inputs that a head of the source makes
	Dim     int     // elements of such a head
}

// Column is the k-th column of the readers that a row of the source makes, k being
// below Repeat.
func (f Fold) Column(row, k int) int { return (row/f.Dim*f.Repeat+k)*f.Dim + row%f.Dim }

// Folds lists the places of a block, with the number of blocks those of the head,
// and below 0 those of the embedding, which are none.
func (m *Model) Folds(layer int) []Fold {
	if layer < 0 {
		return nil
	}
	if layer == len(m.Blocks) {
		if m.Tied || m.Norm == nil || m.Norm.Weight == nil || m.Head.Project != nil {
			return nil
		}
		return []Fold{{Readers: []*Linear{&m.Head.Linear}, Norm: m.Norm}}
	}
	var fs []Fold
	b := &m.Blocks[layer]
	norms := map[*Norm]int{} // places in fs
	for s := range b.Steps {
		for _, br := range b.Steps[s].Branches {
			if n, readers := br.Pre, readersOf(br.Do); n != nil && n.Weight != nil && readers != nil {
				if i, ok := norms[n]; ok {
					fs[i].Readers = append(fs[i].Readers, readers...)
				} else {
					norms[n] = len(fs)
					fs = append(fs, Fold{Readers: readers, Norm: n})
				}
			}
			fs = append(fs, m.inner(layer, br.Do)...)
		}
	}
	return fs
}

// readersOf lists what reads the input of an operation, nil where that cannot be
// scaled.
func readersOf(op Op) []*Linear {
	if _, ok := op.(*MoE); ok {
		return nil // every expert reads it
	}
	var all []*Linear
	op.parts(visitor{
		linear: func(l *Linear, input string) {
			if input == "" {
				all = append(all, l)
			}
		},
		vector: func(*Vector) {},
	})
	return all
}

// inner lists the places within an operation.
func (m *Model) inner(layer int, op Op) []Fold {
	switch op := op.(type) {
	case *Attention:
		if op.V != nil && op.VNorm == nil && op.Clip == 0 && op.KVFrom < 0 && !m.shares(layer) {
			return []Fold{{Readers: []*Linear{op.O}, Source: op.V, Repeat: op.Heads / op.KVHeads, Dim: op.HeadDim}}
		}
	case *MLP:
		return op.folds()
	case *MoE:
		var fs []Fold
		for i := range op.Experts {
			fs = append(fs, op.Experts[i].folds()...)
		}
		if op.Shared != nil {
			fs = append(fs, op.Shared.folds()...)
		}
		return fs
	}
	return nil
}

func (m *MLP) folds() []Fold {
	if m.Gate == nil || m.Limit != 0 {
		return nil
	}
	return []Fold{{Readers: []*Linear{m.Down}, Source: m.Up, Repeat: 1, Dim: m.Inner}}
}

// shares reports whether another block uses the keys and values of one.
func (m *Model) shares(layer int) bool {
	for i := range m.Blocks {
		for op := range m.Blocks[i].Ops() {
			if a, ok := op.(*Attention); ok && a.KVFrom == layer {
				return true
			}
		}
	}
	return false
}
