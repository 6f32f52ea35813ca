package oniguruma

import (
	"strings"
	"sync"
	"unicode"
)

// named returns the set that a property of Unicode or a POSIX class names, nil if
// there is none. Case, blanks, hyphens and underscores do not count.
func named(name string) runeSet { return sets()[plain(name)] }

// posix returns the set that a POSIX bracket names, nil if there is none.
func posix(name string) runeSet {
	if name == "punct" {
		return named("posixpunct")
	}
	for _, known := range []string{"alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "space", "upper", "word", "xdigit"} {
		if name == known {
			return named(name)
		}
	}
	return nil
}

func word() runeSet { return named("word") }

func plain(name string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "").Replace(name))
}

// scriptCodes are the short names of scripts that expressions use most.
var scriptCodes = map[string]string{"arab": "Arabic", "cyrl": "Cyrillic", "deva": "Devanagari", "grek": "Greek", "hang": "Hangul", "hani": "Han",
	"hebr": "Hebrew", "hira": "Hiragana", "kana": "Katakana", "latn": "Latin", "thai": "Thai"}

// properties are the names that regexp2, which takes them from the same tables, has
// for some of the sets, by plain name.
var properties = sync.OnceValue(func() map[string]string {
	all := map[string]string{"space": "White_Space", "digit": "Nd"}
	for _, tables := range []map[string]*unicode.RangeTable{unicode.Properties, unicode.Scripts, unicode.Categories} {
		for name := range tables {
			all[plain(name)] = name
		}
	}
	return all
})

// sets are all named sets, by plain name.
var sets = sync.OnceValue(func() map[string]runeSet {
	all := make(map[string]runeSet)
	for _, tables := range []map[string]*unicode.RangeTable{unicode.Properties, unicode.Scripts, unicode.Categories} {
		for name, table := range tables {
			all[plain(name)] = fromTables(table)
		}
	}
	for alias, name := range unicode.CategoryAliases {
		all[plain(alias)] = all[plain(name)]
	}
	for code, name := range scriptCodes {
		all[code] = all[plain(name)]
	}
	all["any"] = runeSet{{0, unicode.MaxRune}}
	all["ascii"] = runeSet{{0, 0x7f}}
	all["assigned"] = all["cn"].complement()
	all["space"] = all["whitespace"]
	all["digit"] = all["nd"]
	all["cntrl"] = all["cc"]
	all["blank"] = all["zs"].union(runeSet{{'\t', '\t'}})
	all["xdigit"] = runeSet{{'0', '9'}, {'A', 'F'}, {'a', 'f'}}
	combining := runeSet{{0x363, 0x36f}, {0x1dd3, 0x1de6}} // Latin letters above others: alphabetic since Unicode 16
	all["alpha"] = all["l"].union(all["nl"], all["otheralphabetic"], combining)
	all["lower"] = all["ll"].union(all["otherlowercase"])
	all["upper"] = all["lu"].union(all["otheruppercase"])
	all["alphabetic"], all["lowercase"], all["uppercase"] = all["alpha"], all["lower"], all["upper"]
	all["alnum"] = all["alpha"].union(all["nd"])
	all["word"] = all["alnum"].union(all["m"], all["pc"])
	all["posixpunct"] = all["p"].union(all["s"])
	all["graph"] = all["assigned"].without(all["space"].union(all["cc"], all["cs"]))
	all["print"] = all["graph"].union(all["zs"])
	return all
})
