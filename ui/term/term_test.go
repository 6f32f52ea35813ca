package term

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain ünïcode 漢字\tand\nlines":    "plain ünïcode 漢字\tand\nlines",
		"\x1b[2J\x1b]0;title\a\x00\x7f\r": "[2J]0;title",
		"a\u202eb\u2066c\u2069d\ufff9e":   "abcde",
		"می\u200cخواهم 👩\u200d👧 ❤\ufe0f ش\u200eا\u200f co\u00adop a\u2060b": "می\u200cخواهم 👩\u200d👧 ❤\ufe0f ش\u200eا\u200f co\u00adop a\u2060b",
		"one\u2028two\u2029three": "one\ntwo\nthree",
		"\u009b31mC1":             "31mC1",
		"bad \xff byte":           "bad \ufffd byte",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
	if got := CleanLine("a\nb\tc\x1bd"); got != "a b cd" {
		t.Errorf("CleanLine: %q", got)
	}
}

func TestWord(t *testing.T) {
	for in, want := range map[string]string{
		"~/a": "'~/a'", "/m/Llama-3.2_1B": "/m/Llama-3.2_1B", "my model": "'my model'", "": "''", "it's": `'it'\''s'`, "a\n$(b)": "'a $(b)'", "é": "'é'",
	} {
		if got := Word(in); got != want {
			t.Errorf("Word(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	long := "m/config.json: " + strings.Repeat("é", 1<<20) + ": give another"
	for in, want := range map[string]int{"": 0, "short": 5, long[:maxMessage]: len([]rune(long[:maxMessage])), long: maxMessage + 3} {
		got := Shorten(in)
		if n := len([]rune(got)); n != want {
			t.Errorf("%.30q: %d characters, want %d", in, n, want)
		}
		if in == long && (!strings.HasPrefix(got, "m/config.json: é") || !strings.HasSuffix(got, "é: give another")) {
			t.Errorf("%q", got)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range CleanLine(s) {
			if unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x206f {
				t.Fatalf("%q let %q through", s, r)
			}
		}
	})
}

// A line of a screen keeps its styles, and nothing else that a terminal obeys.
func TestCleanStyled(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain, 漢字 █", "plain, 漢字 █"},
		{"\x1b[1;38;5;117mtitle\x1b[0m", "\x1b[1;38;5;117mtitle\x1b[0m"},
		{"\x1b[38:2::1:2:3mred\x1b[m", "\x1b[38:2::1:2:3mred\x1b[m"},
		{"a\x1b[2Jb\x1b[5;5Hc", "a[2Jb[5;5Hc"},
		{"\x1b]52;c;YQ==\a\x1b[?25l\x1b[>4m\x1bc\x1b", "]52;c;YQ==[?25l[>4mc"},
		{"a\x1b\x1b[1mb", "a\x1b[1mb"},
		{"a\nb\tc\rd\u009b2J\u202e\u2028", "a b cd2J "},
		{"👩\u200d👧\x1b[1m", "👩\u200d👧\x1b[1m"},
		{"\xff\x1b[1m", "\ufffd\x1b[1m"},
	} {
		if got := CleanStyled(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestUnits(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.00 kB", 1250: "1.25 kB", 999_499: "999 kB", 999_500: "1.00 MB",
		2_230_000: "2.23 MB", 45_600_000: "45.6 MB", 1_990_000_000_000: "1.99 TB", -5: "-5 B"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1.00k", 1_115_520: "1.12M", 999_999_999: "1.00G"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 0.123: "0.12", 9.994: "9.99", 9.996: "10.0", 99.94: "99.9", 99.96: "100", 12345: "12345", -3.14159: "-3.14"} {
		if got := Digits(v); got != want {
			t.Errorf("Digits(%g) = %q, want %q", v, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "—", 0: "0 ms", 850 * time.Millisecond: "850 ms", 3210 * time.Millisecond: "3.2 s",
		59_949 * time.Millisecond: "59.9 s", 59_960 * time.Millisecond: "1m00s", 245 * time.Second: "4m05s", 2*time.Hour + 3*time.Minute: "2h03m"} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
	for v, want := range map[float64]string{4.84432: "4.8443", -0.5: "-0.5000", math.Inf(1): "inf", math.Inf(-1): "-inf", 1.5e300: "1.5000e+300"} {
		if got := Fixed("%.4f", v); got != want {
			t.Errorf("Fixed(%g) = %q, want %q", v, got, want)
		}
	}
	if got := PercentSE(math.Inf(1), math.NaN()); got != "+inf % ± nan %" {
		t.Errorf("PercentSE: %q", got)
	}
	if got := Percent(0.0065); got != "+0.65 %" {
		t.Errorf("Percent: %q", got)
	}
}

// The estimate follows the rate of the last seconds.
func TestETA(t *testing.T) {
	e, now := NewETA(10*time.Second), time.Unix(0, 0)
	if e.Left() >= 0 {
		t.Error("an estimate from nothing")
	}
	e.Add(now, 0)
	e.Add(now, 0)
	if e.Left() >= 0 {
		t.Error("an estimate without progress")
	}
	for i := range 20 { // a slow start, 0.1 % a second
		e.Add(now.Add(time.Duration(i)*time.Second), float64(i)/1000)
	}
	for i := range 21 { // then 1 % a second
		e.Add(now.Add(time.Duration(20+i)*time.Second), 0.02+float64(i)/100)
	}
	if rate := e.Rate(); math.Abs(rate-0.01) > 1e-9 {
		t.Errorf("%v a second, of the last while it is 0.01", rate)
	}
	if left := e.Left(); left < 75*time.Second || left > 90*time.Second {
		t.Errorf("%v left; 78 %% at 1 %% a second are 78 s", left)
	}
}

func TestUTF8(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, true},
		{map[string]string{"LANG": "C.UTF-8"}, true},
		{map[string]string{"LANG": "de_DE.utf8"}, true},
		{map[string]string{"LANG": "C"}, false},
		{map[string]string{"LANG": "de_DE.ISO-8859-1"}, false},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "en_US.UTF-8"}, true},
	} {
		if got := UTF8(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: %v", c.env, got)
		}
	}
}
