package term

import (
	"fmt"
	"strconv"
	"strings"
)

// ParsePercent reads a share that a person gives: "1%", "0.5 %" or a fraction such
// as "0.01". It must be above 0 and at most ten times the whole.
func ParsePercent(s string) (float64, error) {
	num, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v > 0 && v <= 10) {
		return 0, fmt.Errorf("%q: give a percentage above 0, such as 1%%", s)
	}
	return v, nil
}

// ParseBytes reads a number of bytes, with kB, MB or GB (powers of 1000) if wanted.
func ParseBytes(s string) (int64, error) {
	num, factor := strings.TrimSpace(s), 1.0
	for _, u := range []struct {
		name   string
		factor float64
	}{{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(num, u.name); ok {
			num, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(num, 64)
	if err != nil || !(v*factor >= 1 && v*factor < 1e15) {
		return 0, fmt.Errorf("%q: give a number of bytes, such as 500MB", s)
	}
	return int64(v * factor), nil
}
