package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adrg/xdg"

	"nibble/ui/job"
)

// emptyConfig gives a test a config directory of its own.
func emptyConfig(t *testing.T) {
	t.Helper()
	t.Cleanup(xdg.Reload) // once the variable is what it was
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	xdg.Reload()
}

// What this machine's user has configured is nothing to the tests.
func init() {
	os.Setenv("XDG_CONFIG_HOME", filepath.Join(os.TempDir(), "nibble has no config here"))
	xdg.Reload()
}

func TestConfig(t *testing.T) {
	emptyConfig(t)
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"config set theme mono", ExitOK, ""},
		{"config get theme", ExitOK, "mono\n"},
		{"config set threads 3", ExitOK, ""},
		{"config", ExitOK, "threads  3 "},
		{"config list --json", ExitOK, `"threads":"3"`},
		{"config path", ExitOK, "config.json\n"},
		{"config unset theme", ExitOK, ""},
		{"config get theme", ExitOK, "\n"},
		{"config set threads many", ExitUsage, `threads: "many" is no number`},
		{"config set ascii 1", ExitUsage, `"1" is neither true nor false`},
		{"config set theme pink", ExitUsage, `no theme "pink"`},
		{"config set colour red", ExitUsage, `no key "colour": there are theme, ascii, threads`},
	} {
		if code, out, errs := nibble("", strings.Fields(c.args)...); code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("nibble %s: code %d, no %q in %s%s", c.args, code, c.says, out, errs)
		}
	}
}

// Flags and the environment win over the file, which is a default.
func TestConfigIsTheDefault(t *testing.T) {
	emptyConfig(t)
	if err := (config{"theme": "mono", "threads": "3"}).write(job.ConfigFile()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ env, args, theme, threads string }{
		{"", "", "mono", "3"},
		{"", "--theme light --threads 1", "light", "1"},
		{"dark", "", "", "3"},
	} {
		t.Setenv("NIBBLE_THEME", c.env)
		root := newApp(nil, nil, nil).root()
		if err := root.ParseFlags(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		if err := configure(root); err != nil {
			t.Fatal(err)
		}
		if got := root.Flags().Lookup("theme").Value.String(); got != c.theme {
			t.Errorf("NIBBLE_THEME=%s %s: theme %q, want %q", c.env, c.args, got, c.theme)
		}
		if got := root.Flags().Lookup("threads").Value.String(); got != c.threads {
			t.Errorf("%s: threads %q, want %q", c.args, got, c.threads)
		}
	}
}

// A file with mistakes is named in one line, and stays as it is.
func TestConfigMistakes(t *testing.T) {
	emptyConfig(t)
	path := job.ConfigFile()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for content, says := range map[string]string{
		"{": "is no JSON object", `{"colour":"red"}`: `no key "colour"`, `{"threads":"x"}`: "threads: ", `{"threads":-1}`: "threads: ", `{"ascii":{}}`: "ascii: ",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"version"}, {"config"}, {"config", "set", "theme", "mono"}} {
			code, _, errs := nibble("", args...)
			if code != ExitFailed || !strings.Contains(errs, path) || !strings.Contains(errs, says) || strings.Count(errs, "\n") != 1 {
				t.Errorf("%s, %v: code %d, %q", content, args, code, errs)
			}
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != content {
			t.Errorf("%s became %s, %v", content, now, err)
		}
	}
}

// README.md has every key and what it means.
func TestConfigIsDocumented(t *testing.T) {
	for _, s := range settings {
		if !strings.Contains(readme, "| `"+s.key+"` | "+s.about+" |") {
			t.Errorf("README.md has no row of %q: %s", s.key, s.about)
		}
		if newApp(nil, nil, nil).root().Flag(s.key) == nil {
			t.Errorf("%s is the default of no flag", s.key)
		}
	}
}
