package term

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParsePercent reads a share that a person gives: "1%", "0.5 %", "1,5%", or a
// fraction such as "0.01". It must be above 0 and at most ten times the whole. From 1
// on a number without the sign can be meant either way, and is not guessed at.
func ParsePercent(s string) (float64, error) {
	num, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	v, err := parseNumber(num)
	switch {
	case err != nil || !(v > 0):
		return 0, fmt.Errorf("%q: give a percentage above 0, such as 1%%", s)
	case !percent && v >= 1:
		return 0, fmt.Errorf("%q: is that %g%% or %g%%? Write it with the sign", s, v, 100*v)
	case percent:
		v /= 100
	}
	if v > 10 {
		return 0, fmt.Errorf("%q: give a percentage of 1000%% at most", s)
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
			num, factor = rest, u.factor
			break
		}
	}
	v, err := parseNumber(num)
	if err != nil || !(v*factor >= 1 && v*factor < 1e15) {
		return 0, fmt.Errorf("%q: give a number of bytes, such as 500MB", s)
	}
	return int64(v * factor), nil
}

// ParsePositive reads a number above 0.
func ParsePositive(s string) (float64, error) {
	v, err := parseNumber(s)
	if err != nil || !(v > 0) {
		return 0, fmt.Errorf("%q: give a number above 0", s)
	}
	return v, nil
}

// ParseDuration reads a span of time above 0, such as "90s" or "1h30m".
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(s))
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q: give a time above 0, such as 90s or 10m", s)
	}
	return d, nil
}

var errNumber = errors.New("not a number")

// parseNumber reads a finite number, with a point or a comma before its decimals. A
// comma before three digits could as well part thousands.
func parseNumber(s string) (float64, error) {
	s = strings.TrimSpace(s)
	if whole, decimals, ok := strings.Cut(s, ","); ok {
		if len(decimals) == 3 {
			return 0, errNumber
		}
		s = whole + "." + decimals
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, errNumber
	}
	return v, nil
}
