package workbench

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The pages and keys of ui/README.md are those of the key tables; -update writes them.
func TestReadmeKeys(t *testing.T) {
	const begin, end, path = "<!-- keys -->\n", "<!-- end of keys -->\n", "../README.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(data), begin)
	was, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no place for the keys", path)
	}
	is := keysText()
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+is+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if was != is {
		t.Errorf("%s has other keys than the program; run go test ./ui/workbench -run Readme -update", path)
	}
}

// keysText lists the keys of every page, with those of its forms, as Markdown.
func keysText() string {
	var b strings.Builder
	table := func(title string, bindings []binding) {
		fmt.Fprintf(&b, "\n### %s\n\n| key | does |\n|---|---|\n", title)
		for _, x := range bindings {
			fmt.Fprintf(&b, "| `%s` | %s |\n", x.label, strings.ReplaceAll(x.help, "|", "\\|"))
		}
	}
	a := newApp(newFake())
	table("Everywhere", a.global())
	for _, p := range a.pages {
		table(p.name(), p.bindings())
	}
	table("Forms", (&form{}).bindings(nil))
	return b.String()
}
