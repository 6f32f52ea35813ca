package oniguruma

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// all returns the matches of an expression, joined by bars.
func all(t *testing.T, expr, text string) string {
	t.Helper()
	translated, err := Translate(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	re, err := regexp2.Compile(translated)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	spans, err := re.FindAllStringIndex(text, -1)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	var matches []string
	for _, s := range spans {
		matches = append(matches, text[s[0]:s[1]])
	}
	return strings.Join(matches, "|")
}

// What Oniguruma matches, one element of its syntax after the other.
func TestMatches(t *testing.T) {
	for _, c := range []struct{ expr, text, want string }{
		{` ?[^(\s|[.,!?…。，、।۔،])]+`, "Hello, (world)! a|b", "Hello|world| a|b"},
		{`[[:alpha:]]+|[[:punct:]]|[[:space:]]`, "Aß日1+$ «", "Aß日|+|$| |«"},
		{`[[:^alpha:]]+`, "ab12 c", "12 "},
		{`[a-w&&[^c-g]z]+`, "abcdhwz", "ab|hw"},
		{`[\p{L}&&[^\p{Han}]]+`, "ab漢字cd", "ab|cd"},
		{`[^a-c&&b-z]+`, "abcde", "a|de"},
		{`[]a]+|[^]b]`, "a]bc", "a]|c"},
		{`[a-]+|[-b]+|[+--]`, "a-b-,", "a-|b-|,"},
		{`[a-c-e]+`, "abc-de", "abc-|e"},
		{`[\b\n\x41\u0042\x{43}\103]`, "\b\nABCDC", "\b|\n|A|B|C|C"},
		{`[&&a]|[a&]`, "a&", "a|&"},
		{`\h+|\H`, "beefg", "beef|g"},
		{`\p{Hiragana}+|\p{^L}+|\P{Han}`, "ひら漢12a", "ひら|12|a"},
		{`\P{L}|\p{Lu}|[\P{Han}&&\p{Lo}]`, "aB1漢あ", "B|1|あ"},
		{`\p{uppercase letter}|\p{Nd}`, "aB٣²", "B|٣"},
		{`\w+`, "a_²é‿٣-", "a_²é‿٣"},
		{`[\w]+`, "a²", "a"},
		{`.+`, "a\r\nb", "a\r|b"},
		{`(?m:.+)`, "a\nb", "a\nb"},
		{`(?m).(?-m:.)`, "\na\n\n", "\na"},
		{`^a|b$`, "a\nab\nb", "a|a|b|b"},
		{`\Aa|b\z|c\Z`, "a\nac\n", "a|c"},
		{`^`, "a\n", ""},
		{`\G.`, "ab", "a|b"},
		{`\bé|é\b`, "éaé", "é|é"},
		{`\Bé`, "éaé", "é"},
		{`a{,2}b|{|c{,}`, "aaab{c{,}", "aab|{|c{,}"},
		{`a{2,}|b{2}|c{1,2}?`, "aaabbbcc", "aaa|bb|c|c"},
		{`a{2}?b`, "aab", "aab"}, // {n}? is an optional {n}
		{`a{2}?b`, "b", "b"},
		{`a{1,2}+b`, "aaaab", "aaaab"}, // + repeats
		{`a{2,1}ab|.`, "aab", "a|a|b"},
		{`a++b|a?+ab|a`, "aab", "aab"},
		{`a*+a|b`, "aab", "b"},
		{`(?>a|ab)c|.`, "abc", "a|b|c"},
		{`a(?i)b|c`, "aBaCc", "aB|aC"}, // the option holds the branches that follow
		{`(?i:'s|'t|k)`, "'S'ſ'TKk\u212a", "'S|'ſ|'T|K|k|\u212a"},
		{`(?i:ss|ﬁ)`, "ssßẞSSfiFI", "ss|ß|ẞ|SS|fi|FI"},
		{`(?i:ß)`, "ssSs", "ss|Ss"},
		{`(?i:[ß])`, "ßss", "ß|ss"},
		{`(?i:[^k])`, "Kka", "a"},
		{`(?i:\p{Lu})`, "aA", "A"},
		{`(?x: a b # c
			[ ] )`, "ab ", "ab "},
		{`(?#comment \) )a`, "a", "a"},
		{`(?<name>a)(?'other'b)(c)`, "abc", "abc"},
		{`(?<=a|bc)d|(?<![a-c])d`, "adbcdcdd", "d|d|d"},
		{`\R|\X`, "\r\ne\u0301\n", "\r\n|e\u0301|\n"},
		{`\N+\O`, "ab\nc", "ab\n"},
		{`\t\x09|\/|\-|\q`, "\t\t/-q", "\t\t|/|-|q"},
		{`a|`, "ba", "|a"},
	} {
		if got := all(t, c.expr, c.text); got != c.want {
			t.Errorf("%s on %q: %q, want %q", c.expr, c.text, got, c.want)
		}
	}
}

// What is not known is refused, and said where it stands.
func TestRefuses(t *testing.T) {
	for expr, want := range map[string]string{
		`a(`:                                    "a group without an end at character",
		`a)`:                                    "an unmatched ) at character 2",
		`*a`:                                    "a quantifier without a target at character 1",
		`a|+`:                                   "a quantifier without a target at character 3",
		`a[`:                                    "a class without an end at character 2",
		`[]`:                                    "an empty class at character 1",
		`[z-a]`:                                 "the range from 'z' to 'a', which is empty at character 3",
		`[\w-x]`:                                "a range that begins with a class at character 4",
		`[a-\d]`:                                "a range that ends with a class at character 4",
		`[a-[b]]`:                               "a range that ends with a class at character 4",
		`[[:foo:]]`:                             `the POSIX class "foo" at character 2`,
		`é\p{Klingon}`:                          `the property "Klingon" at character 2`,
		`\p{L`:                                  `\p{ without an end`,
		`(a)\1`:                                 "a reference back to a group at character 4",
		`\k<a>`:                                 `\k at character 1`,
		`\K`:                                    `\K`,
		`\y`:                                    `\y`,
		`(?~a)`:                                 "the group (?~",
		`(?(a)b)`:                               "the group (?(",
		`(?{a})`:                                "the group (?{",
		`(*FAIL)`:                               "the callout (*",
		`(?s:a)`:                                "the group (?s",
		`(?W:a)`:                                "the group (?W",
		`(?<1>a)`:                               "a group without a name",
		`(?<a-b>a)`:                             `a group whose name holds '-'`,
		`\xe9`:                                  "the byte 0xe9",
		`\x{61 62}`:                             "a sequence of characters",
		`\x{110000}`:                            "the character 0x110000",
		`\ud800`:                                "the character 0xd800",
		`\u12`:                                  `\u with less than four digits`,
		`\ca`:                                   `the control character \c`,
		`a\`:                                    "a backslash at the end",
		`a{100001}`:                             "a repeat of more than 100000 times",
		`(?<=a++)b`:                             "inside a look-behind",
		`(?<=(?>a))b`:                           "inside a look-behind",
		`(?<=\R)b`:                              "inside a look-behind",
		strings.Repeat("(", 200):                "within each other",
		strings.Repeat("[", 200):                "within each other",
		"a" + strings.Repeat("+?", 200):         "quantifiers in a row",
		strings.Repeat(`\w`, 1000):              "more than 1048576 bytes",
		"(?i:" + strings.Repeat("s", 100) + ")": "more than 1048576 bytes",
	} {
		if got, err := Translate(expr); !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %.80q, %v, want %q", expr, got, err, want)
		}
	}
}

// FuzzTranslate: any expression is refused or becomes one that regexp2 takes.
func FuzzTranslate(f *testing.F) {
	for _, s := range []string{`(?i:[^\p{L}&&[:alpha:]]{1,2}+|\x{61}-)`, `(?x: a # b
		)(?<=c)[a-\x62]`, `\R\X\b$^\G`, `[[a]&&[^b]]`, `(?<n>ß)+?`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		translated, err := Translate(expr)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatal(err)
			}
			return
		}
		re, err := regexp2.Compile(translated)
		if err != nil {
			t.Fatalf("%q became %q: %v", expr, translated, err)
		}
		re.MatchTimeout = 50 * time.Millisecond
		_, _ = re.FindAllStringIndex("aß 1\r\n", -1)
	})
}
