package score

import (
	"fmt"

	"nibble/model"
	"nibble/quant"
	"nibble/tune/space"
)

// unit is matrices of a class that are scored together: one matrix, or the experts
// of a layer that play the same role, of which some stand for all.
type unit struct {
	class  *space.Class
	at     []int          // in the class
	sample []model.Module // those that are measured
}

// sampleWeights bounds the experts that are measured of a unit, by their weights.
const sampleWeights = 1 << 25

// units lists the units of classes in the order of the model.
func units(c model.Config, classes []space.Class) []*unit {
	type place struct {
		class *space.Class
		at    int
	}
	places := map[string]place{}
	for i := range classes {
		for j, m := range classes[i].Matrices {
			places[m.Name] = place{&classes[i], j}
		}
	}
	var all []*unit
	experts := map[string]*unit{}
	for _, m := range c.Modules() {
		p := places[m.Name]
		if m.Linear == nil || m.Linear.Expert < 0 {
			all = append(all, &unit{class: p.class, at: []int{p.at}})
			continue
		}
		name := fmt.Sprint(m.Layer, " ", m.Kind)
		u := experts[name]
		if u == nil {
			u = &unit{class: p.class}
			experts[name] = u
			all = append(all, u)
		}
		u.at = append(u.at, p.at)
	}
	for _, u := range all {
		first := u.matrix(0)
		n := min(len(u.at), max(1, sampleWeights/(first.Rows*first.Cols)))
		for _, i := range Spread(n, len(u.at)) {
			u.sample = append(u.sample, u.matrix(i))
		}
	}
	return all
}

// matrix returns the i-th matrix of the unit.
func (u *unit) matrix(i int) model.Module { return u.class.Matrices[u.at[i]] }

// name names the unit.
func (u *unit) name() string {
	if len(u.at) == 1 {
		return u.matrix(0).Name
	}
	return fmt.Sprintf("%s and %d more", u.matrix(0).Name, len(u.at)-1)
}

// names lists the matrices that are measured.
func (u *unit) names() []string {
	var out []string
	for _, m := range u.sample {
		out = append(out, m.Name)
	}
	return out
}

// options lists what is offered with the bytes that all matrices of the unit take.
func (u *unit) options() (specs []quant.Spec, bytes []int64) {
	for _, o := range u.class.Options {
		n := int64(0)
		for _, at := range u.at {
			n += o.Parts[at].Bytes
		}
		specs, bytes = append(specs, o.Spec), append(bytes, n)
	}
	return specs, bytes
}

// take adds divergences of the options, of all matrices together, to the class.
func (u *unit) take(klds []float64) {
	for j := range u.class.Options {
		o := &u.class.Options[j]
		for _, at := range u.at {
			o.Parts[at].KLD = klds[j] / float64(len(u.at))
		}
		o.KLD += klds[j]
	}
}

// Spread lists n of total things, evenly apart.
func Spread(n, total int) []int {
	n = min(n, total)
	var out []int
	for i := range n {
		out = append(out, (2*i+1)*total/(2*n))
	}
	return out
}
