package space

import (
	"slices"

	"nibble/quant"
)

// Offer sorts the specs that a search may use by how it can use them.
//
// Methods that train a layer as a whole cannot be screened: what they make of a
// matrix depends on the rest of its layer, and trying them all takes too long. The
// search is made with their stand-ins (quant.StandIn), which they start from; what it
// finds is then refined: quantized once more by them, with the same bits everywhere.
type Offer struct {
	Specs    []quant.Spec // as they were given
	Screened []quant.Spec // that are screened: those of Specs that can be, and stand-ins
	Refiners []quant.Spec // that refine what is found, the strongest first
	Always   bool         // every recipe is refined, because a stand-in is not offered itself
}

// NewOffer sorts specs.
func NewOffer(specs []quant.Spec) Offer {
	o := Offer{Specs: specs}
	for _, spec := range specs {
		if quant.StandIn(spec) == spec {
			o.Screened = append(o.Screened, spec)
		} else {
			o.Refiners = append(o.Refiners, spec)
		}
	}
	for _, spec := range o.Refiners {
		if in := quant.StandIn(spec); !slices.Contains(o.Screened, in) {
			o.Screened, o.Always = append(o.Screened, in), true
		}
	}
	slices.SortStableFunc(o.Refiners, func(a, b quant.Spec) int {
		return quant.MethodNamed(b.Method).Strength - quant.MethodNamed(a.Method).Strength
	})
	return o
}

// Refines reports whether recipes can be refined that are not anyway.
func (o Offer) Refines() bool { return len(o.Refiners) > 0 && !o.Always }

// Refined is the spec that refining turns a spec into: that of the strongest refiner
// with the same scheme, or the spec itself.
func (o Offer) Refined(spec quant.Spec) quant.Spec {
	for _, r := range o.Refiners {
		if !spec.Kept() && r.Scheme() == spec.Scheme() {
			return r
		}
	}
	return spec
}
