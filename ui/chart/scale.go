package chart

import "math"

// Scale places values on an axis: logarithmic where they span more than a decade,
// so that the small ones can be told apart, else linear.
type Scale struct {
	log   bool
	floor float64 // of a logarithmic axis: what is not above it is drawn at it
	below bool    // there is something below the floor
}

// ScaleFor chooses the scale for values; those that are not finite count for
// nothing.
func ScaleFor(values ...float64) Scale {
	lo, hi := math.Inf(1), 0.0
	below := false
	for _, v := range values {
		switch {
		case !finite(v):
		case v <= 0:
			below = true
		default:
			lo, hi = min(lo, v), max(hi, v)
		}
	}
	return Scale{log: hi > 10*lo, floor: lo, below: below}
}

// At is the place of a value on the axis.
func (s Scale) At(v float64) float64 {
	if !s.log || !finite(v) {
		return v
	}
	return math.Log10(max(v, s.floor))
}

// All is At of every value.
func (s Scale) All(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = s.At(v)
	}
	return out
}

// Format makes a format of values one of places.
func (s Scale) Format(format func(float64) string) func(float64) string {
	if !s.log {
		return format
	}
	return func(at float64) string {
		text := format(math.Pow(10, at))
		if s.below && at <= math.Log10(s.floor)+1e-9 {
			return "≤" + text
		}
		return text
	}
}

// Note follows the title of a plot.
func (s Scale) Note() string {
	if s.log {
		return " (log)"
	}
	return ""
}
