package solve

// Pace makes the speed of decoding out of what the kernel selector measured of
// each product: alone, with its weights in the cache. It is measured once a run,
// so that the front, the limits and the report of a run agree.
type Pace struct {
	Factor   float64 `json:"factor"`      // of the products' time
	Overhead float64 `json:"overhead_ns"` // of a token, beside the products
}

// NewPace fits the time of two models, in ns of a token, of which the products take
// the times named with them.
func NewPace(small, smallNS, large, largeNS float64) Pace {
	p := Pace{Factor: 1}
	if largeNS > 1.1*smallNS {
		p.Factor = min(max((large-small)/(largeNS-smallNS), 0.5), 4)
	}
	p.Overhead = max(0, small-p.Factor*smallNS)
	return p
}

// TPS is the tokens a second of recipes whose products take ns; 0 if it is not known.
func (p Pace) TPS(ns float64) float64 {
	if ns <= 0 || p.Factor == 0 {
		return 0
	}
	return 1e9 / (p.Factor*ns + p.Overhead)
}

// products is how long the products of a token may take for a speed.
func (p Pace) products(tps float64) float64 { return (1e9/tps - p.Overhead) / p.Factor }
