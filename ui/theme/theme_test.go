package theme

import (
	"testing"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// Each theme has its colours where there are any, and mono none.
func TestThemes(t *testing.T) {
	defer lipgloss.SetColorProfile(lipgloss.ColorProfile())
	for _, profile := range []termenv.Profile{termenv.ANSI256, termenv.Ascii} {
		lipgloss.SetColorProfile(profile)
		ramps := map[string]bool{}
		for _, name := range Names() {
			th, err := Named(name)
			if err != nil || th.Name != name {
				t.Fatalf("%s: %v", name, err)
			}
			ramp := ""
			for i := range 6 {
				ramp += th.Damage(float64(i) / 5).Render("x")
			}
			coloured := profile != termenv.Ascii && name != "mono"
			if (ramp != "xxxxxx") != coloured || (th.GraphColor(1) != 0) != coloured {
				t.Errorf("%s on %v: %q, %v", name, profile, ramp, th.GraphColor(1))
			}
			ramps[ramp] = true
		}
		if profile != termenv.Ascii && len(ramps) < 4 {
			t.Errorf("only %d ramps", len(ramps))
		}
	}
	if _, err := Named("pink"); err == nil {
		t.Error("pink is no theme")
	}
	th, _ := Named("")
	for range Names() {
		th = Next(th.Name)
	}
	if th.Name != Default {
		t.Errorf("the themes end with %s", th.Name)
	}
}
