// Package theme holds the styles of the workbench by meaning. No meaning hangs on colour
// alone: whatever a style says, a mark or a word says as well, so that the mono theme,
// NO_COLOR and a terminal without colours lose nothing.
package theme

import (
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/guptarohit/asciigraph"
	"github.com/muesli/termenv"
)

// Theme is the styles of a screen.
type Theme struct {
	Name string

	Title, Dim, Accent, Good, Bad, Selected, Tab, TabOn lipgloss.Style

	damage []lipgloss.Style // from little to much
	curves []string         // colours that tell series apart; none in mono
}

// Inverse swaps text and background: an attribute, no colour, so it shows also where
// colours are not wanted.
var Inverse = lipgloss.NewStyle().Renderer(inverting).Reverse(true)

var inverting = func() *lipgloss.Renderer {
	r := lipgloss.NewRenderer(io.Discard)
	r.SetColorProfile(termenv.ANSI)
	return r
}()

// Default follows the terminal's background.
const Default = "auto"

// palette is the colours of a theme: exact entries of the 256-colour cube, for light
// and dark backgrounds.
type palette struct {
	light, dark tones
}

// tones are colours by meaning; damage and curves are lists.
type tones struct {
	title, dim, accent, good, bad string
	damage, curves                []string
}

var (
	onLight = tones{"18", "242", "25", "22", "124", []string{"25", "30", "94", "130", "124"}, []string{"25", "130", "22", "90", "124", "30"}}
	onDark  = tones{"117", "245", "75", "114", "203", []string{"75", "79", "179", "208", "203"}, []string{"75", "208", "114", "177", "203", "80"}}
	// Blue to yellow is told apart with every common kind of colour blindness; good and
	// bad are blue and orange.
	safeLight = tones{"18", "242", "25", "25", "130", []string{"17", "60", "96", "137", "130"}, []string{"25", "130", "17", "137", "96", "0"}}
	safeDark  = tones{"153", "248", "75", "75", "214", []string{"32", "74", "145", "185", "226"}, []string{"75", "214", "153", "226", "145", "15"}}
	strongLow = tones{"16", "16", "18", "22", "88", []string{"16", "18", "52", "88", "88"}, []string{"18", "88", "22", "16", "53", "23"}}
	strongUp  = tones{"231", "231", "123", "120", "217", []string{"231", "123", "229", "222", "217"}, []string{"123", "222", "120", "231", "219", "217"}}
)

// palettes are the themes by name, as they are offered.
var palettes = []struct {
	name string
	palette
}{
	{Default, palette{onLight, onDark}},
	{"dark", palette{onDark, onDark}},
	{"light", palette{onLight, onLight}},
	{"contrast", palette{strongLow, strongUp}},
	{"colorblind", palette{safeLight, safeDark}},
	{"mono", palette{}},
}

// Names lists the themes.
func Names() []string {
	var names []string
	for _, p := range palettes {
		names = append(names, p.name)
	}
	return names
}

// Named is a theme by name; "" is the default.
func Named(name string) (Theme, error) {
	if name == "" {
		name = Default
	}
	for _, p := range palettes {
		if p.name == name {
			return p.theme(name), nil
		}
	}
	return Theme{}, fmt.Errorf("there is no theme %q: there are %s", name, strings.Join(Names(), ", "))
}

// Next is the theme after one, by name.
func Next(name string) Theme {
	for i, p := range palettes {
		if p.name == name {
			next := palettes[(i+1)%len(palettes)]
			return next.theme(next.name)
		}
	}
	return palettes[0].theme(palettes[0].name)
}

func (p palette) theme(name string) Theme {
	color := func(light, dark string) lipgloss.Style {
		if light == "" {
			return lipgloss.NewStyle()
		}
		return lipgloss.NewStyle().Foreground(lipgloss.AdaptiveColor{Light: light, Dark: dark})
	}
	t := Theme{
		Name:     name,
		Title:    color(p.light.title, p.dark.title).Bold(true),
		Dim:      color(p.light.dim, p.dark.dim),
		Accent:   color(p.light.accent, p.dark.accent),
		Good:     color(p.light.good, p.dark.good),
		Bad:      color(p.light.bad, p.dark.bad),
		Selected: Inverse,
		Tab:      color(p.light.dim, p.dark.dim),
		TabOn:    color(p.light.title, p.dark.title).Bold(true).Underline(true),
	}
	for i := range p.light.damage {
		t.damage = append(t.damage, color(p.light.damage[i], p.dark.damage[i]))
	}
	t.curves = p.light.curves
	if lipgloss.HasDarkBackground() {
		t.curves = p.dark.curves
	}
	return t
}

// Damage is the style of a share of the worst damage, 0 to 1: one ramp on every page.
func (t Theme) Damage(share float64) lipgloss.Style {
	if len(t.damage) == 0 || !(share > 0) {
		return t.Dim
	}
	return t.damage[min(len(t.damage)-1, int(share*float64(len(t.damage))))]
}

// Curve is the style of the i-th series of a chart.
func (t Theme) Curve(i int) lipgloss.Style {
	if len(t.curves) == 0 {
		return lipgloss.NewStyle()
	}
	return lipgloss.NewStyle().Foreground(lipgloss.Color(t.curves[i%len(t.curves)]))
}

// GraphColor is the colour of the i-th series for asciigraph, which writes colours
// itself: its default where the terminal shows none.
func (t Theme) GraphColor(i int) asciigraph.AnsiColor {
	if len(t.curves) == 0 || t.Curve(i).Render("x") == "x" {
		return asciigraph.Default
	}
	var code int
	_, _ = fmt.Sscan(t.curves[i%len(t.curves)], &code) // they are ours
	return asciigraph.AnsiColor(code)
}
