package chart

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// asciiMarks stand in for the characters that nibble draws with.
var asciiMarks = map[rune]rune{
	'─': '-', '╌': '-', '│': '|', '┤': '|', '┼': '+', '└': '+', '┬': '+', '╭': '.', '╮': '.', '╰': '\'', '╯': '\'', '╴': '-', '╶': '-',
	'●': '*', '○': 'o', '◉': '@', '★': '#', '·': '.', '•': '*', '…': '~', '—': '-', '–': '-', '×': 'x', '±': '~',
	'✓': '+', '✗': 'x', '↯': '/', '≈': '~', '►': '>', '▸': '>', '◂': '<', '⟲': '@', '↑': '^', '↓': 'v', '←': '<', '→': '>', '▌': '|', '▏': '|',
	'‖': '=', '›': '>', '▾': 'v', '≤': '<', '↵': '|', '⇥': '>',
	'▎': '|', '┊': '|', '▍': '|', '▋': '#', '▊': '#', '▉': '#', '▮': '#', '▯': '.', '▔': '\'', '━': '=', '┃': '|', '═': '=', '├': '+',
	'▁': '1', '▂': '2', '▃': '3', '▄': '4', '▅': '5', '▆': '6', '▇': '7', '█': '#', 'µ': 'u', 'Δ': 'd',
}

// ASCII rewrites text for a terminal that shows nothing else: every character
// becomes one, or as many as it is wide, of the nearest meaning; braille dots
// become a mark at their height.
func ASCII(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch mark, ok := asciiMarks[r]; {
		case r < 0x80:
			b.WriteRune(r)
		case ok:
			b.WriteRune(mark)
		case r >= 0x2800 && r < 0x2900:
			b.WriteByte(asciiDots(uint8(r - 0x2800)))
		default:
			b.WriteString(strings.Repeat("?", ansi.StringWidth(string(r))))
		}
	}
	return b.String()
}

func asciiDots(dots uint8) byte {
	const upper, lower = 0x01 | 0x08 | 0x02 | 0x10, 0x04 | 0x20 | 0x40 | 0x80
	switch {
	case dots == 0:
		return ' '
	case dots&lower == 0:
		return '\''
	case dots&upper == 0:
		return '.'
	}
	return ':'
}
