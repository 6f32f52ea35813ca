package workbench

import (
	"time"

	"nibble/ui/chart"
)

// maxLog is how many lines of news are kept.
const maxLog = 500

// logLine is something that was said.
type logLine struct {
	at     time.Time
	text   string
	failed bool
}

// note keeps what was said for the log.
func (s *state) note(text string, failed bool) {
	if text == "" {
		return
	}
	if n := len(s.log); n > 0 && s.log[n-1].text == text {
		return
	}
	s.log = append(s.log, logLine{time.Now(), text, failed})
	s.log = s.log[max(0, len(s.log)-maxLog):]
}

// logView is the drawer with what was said, the newest at the bottom.
func (a *app) logView(w, h int) []string {
	return a.framed(false, w, h, func(w, h int) []string {
		lines := []string{a.th.Title.Render("log") + a.th.Dim.Render(" · ~ or ctrl+l closes")}
		var text []string
		for _, l := range a.s.log {
			mark := "  "
			if l.failed {
				mark = a.th.Bad.Render("✗ ")
			}
			for i, part := range wrap(l.text, w-13) {
				lead := a.th.Dim.Render(l.at.Format(" 15:04:05 ")) + mark
				if i > 0 {
					lead = "            "
				}
				text = append(text, lead+part)
			}
		}
		if len(text) == 0 {
			text = []string{a.th.Dim.Render(" nothing has been said yet")}
		}
		return append(lines, chart.Fit(text[max(0, len(text)-(h-1)):], w, max(0, h-1))...)
	})
}
