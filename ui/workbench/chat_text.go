package workbench

import (
	"regexp"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"nibble/ui/theme"
)

// markdown draws a model's text, which may end anywhere while it streams, in lines of w
// columns: headings, lists, bold and code are styled, nothing is left out but the marks of
// styles.
func markdown(th theme.Theme, text string, w int) []string {
	var lines []string
	inCode := false
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\t", "    "), "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			inCode = !inCode
			lines = append(lines, th.Dim.Render("│ "+strings.TrimPrefix(trimmed, "```")))
		case inCode:
			for _, l := range wrap(line, w-2) {
				lines = append(lines, th.Dim.Render("│ ")+th.Accent.Render(l))
			}
		case heading.MatchString(line):
			for _, l := range wrap(strings.TrimLeft(trimmed, "# "), w) {
				lines = append(lines, th.Title.Render(l))
			}
		default:
			indent := len(line) - len(strings.TrimLeft(line, " "))
			if m := listItem.FindString(line); m != "" {
				indent = len(m)
			}
			indent = min(indent, w/2)
			for i, l := range wrap(inline(th, line), w-indent) {
				if i > 0 {
					l = strings.Repeat(" ", indent) + l
				}
				lines = append(lines, l)
			}
			if trimmed == "" {
				lines = append(lines, "")
			}
		}
	}
	return lines
}

var (
	heading  = regexp.MustCompile(`^#{1,6} `)
	listItem = regexp.MustCompile(`^ *([-*+]|\d{1,3}[.)]) `)
	bold     = regexp.MustCompile(`\*\*([^*\n]+)\*\*`)
	code     = regexp.MustCompile("`([^`\n]+)`")
)

// inline styles what is bold and what is code in a line.
func inline(th theme.Theme, line string) string {
	line = code.ReplaceAllStringFunc(line, func(m string) string { return th.Accent.Render(m) })
	return bold.ReplaceAllStringFunc(line, func(m string) string { return th.Title.Render(strings.Trim(m, "*")) })
}

// thought splits an answer into what the model thought before it and the rest; open says
// that it still thinks.
func thought(answer string) (thinking, rest string, open bool) {
	for _, marks := range [][2]string{{"<think>", "</think>"}, {"<thinking>", "</thinking>"}} {
		text, found := strings.CutPrefix(strings.TrimLeft(answer, " \n"), marks[0])
		if !found {
			continue
		}
		thinking, rest, ended := strings.Cut(text, marks[1])
		return strings.TrimSpace(thinking), strings.TrimLeft(rest, "\n"), !ended
	}
	return "", answer, false
}

// wrap breaks text into lines of at most w columns.
func wrap(text string, w int) []string {
	if text == "" {
		return nil
	}
	return strings.Split(ansi.Wrap(strings.ReplaceAll(text, "\t", "    "), max(4, w), ""), "\n")
}
