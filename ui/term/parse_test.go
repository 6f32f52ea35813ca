package term

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParsePercent(t *testing.T) {
	for _, c := range []struct {
		in   string
		want float64
		says string // of the error; "" is none
	}{
		{"1%", 0.01, ""},
		{"1 %", 0.01, ""},
		{" 0.5% ", 0.005, ""},
		{"1,5%", 0.015, ""},
		{"0.01", 0.01, ""},
		{"0,01", 0.01, ""},
		{"1000%", 10, ""},
		{"5", 0, "5% or 500%"},
		{"1", 0, "1% or 100%"},
		{"1,5", 0, "1.5% or 150%"},
		{"1001%", 0, "1000%"},
		{"1,500%", 0, "above 0"},
		{"-1%", 0, "above 0"},
		{"0%", 0, "above 0"},
		{"0", 0, "above 0"},
		{"nan%", 0, "above 0"},
		{"inf", 0, "above 0"},
		{"%", 0, "above 0"},
		{"", 0, "above 0"},
		{"1%%", 0, "above 0"},
		{"1.5.5%", 0, "above 0"},
	} {
		got, err := ParsePercent(c.in)
		if (err == nil) != (c.says == "") || math.Abs(got-c.want) > 1e-12 || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %g, %v; want %g, %q", c.in, got, err, c.want, c.says)
		}
	}
}

func TestParseLimits(t *testing.T) {
	for in, want := range map[string]int64{"500MB": 5e8, "1.5 GB": 15e8, "1,5GB": 15e8, "123": 123, "7 B": 7, "2kB": 2000, "0": 0, "-5MB": 0, "infGB": 0, "nan": 0, "1e15": 0, "MB": 0, "1,500MB": 0} {
		if got, err := ParseBytes(in); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d bytes, %v; want %d", in, got, err, want)
		}
	}
	for in, want := range map[string]float64{"4.5": 4.5, "4,5": 4.5, "0": 0, "-1": 0, "inf": 0, "+Inf": 0, "nan": 0, "1e999": 0, "": 0, "x": 0} {
		if got, err := ParsePositive(in); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %g, %v; want %g", in, got, err, want)
		}
	}
	for in, want := range map[string]time.Duration{"90s": 90 * time.Second, "1h30m": 90 * time.Minute, " 5m ": 5 * time.Minute, "0s": 0, "-1m": 0, "600": 0, "": 0, "9999999h": 0} {
		if got, err := ParseDuration(in); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
}
