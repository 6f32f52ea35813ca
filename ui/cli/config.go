package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nibble/kernels"
	"nibble/kernels/durable"
	"nibble/model/source"
	"nibble/ui/job"
	"nibble/ui/theme"
)

// maxConfig bounds the config file, in bytes.
const maxConfig = 1 << 16

// setting is a key of the config file: the default of the flag of the same name.
type setting struct {
	key   string
	env   string // variable that wins over the file, if any
	about string
	check func(value string) error
}

// settings are all keys, in the order in which they are listed.
var settings = []setting{
	{"theme", "NIBBLE_THEME", "colours of the workbench: " + strings.Join(theme.Names(), ", "), func(v string) error {
		_, err := theme.Named(v)
		return err
	}},
	{"ascii", "", "draw the workbench with ASCII alone: true or false", func(v string) error {
		if v != "true" && v != "false" {
			return fmt.Errorf("%q is neither true nor false", v)
		}
		return nil
	}},
	{"threads", "", fmt.Sprintf("compute threads: 1 to %d, or 0 for one per core", kernels.MaxThreads), func(v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < 0 || n > kernels.MaxThreads {
			return fmt.Errorf("%q is no number between 0 and %d", v, kernels.MaxThreads)
		}
		return nil
	}},
}

func settingOf(key string) (setting, error) {
	names := make([]string, len(settings))
	for i, s := range settings {
		if names[i] = s.key; s.key == key {
			return s, nil
		}
	}
	return setting{}, fmt.Errorf("there is no key %q: there are %s", key, strings.Join(names, ", "))
}

// config is what the config file says: values by key. A file that is missing says nothing.
type config map[string]string

// readConfig reads a JSON object of keys and their values, and checks all of them.
func readConfig(path string) (config, error) {
	data, _, err := source.Read(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, nil
	}
	if err != nil {
		return nil, err
	}
	var raw map[string]any
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("%s is no JSON object of keys and values: %w; correct or delete it", path, err)
	}
	c := config{}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		s, err := settingOf(key)
		if err == nil {
			c[key] = fmt.Sprint(raw[key])
			err = s.check(c[key])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w; correct the file or delete it", path, key, err)
		}
	}
	return c, nil
}

func (c config) write(path string) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, data, []byte("\n"))
}

// configure gives the flags of cmd that are not given the values of the config file.
// Commands about the file itself do without it.
func configure(cmd *cobra.Command) error {
	if cmd.Name() == "config" || cmd.HasParent() && cmd.Parent().Name() == "config" {
		return nil
	}
	c, err := readConfig(job.ConfigFile())
	if err != nil {
		return err
	}
	for _, s := range settings {
		flag, value := cmd.Flags().Lookup(s.key), c[s.key]
		if value == "" || flag == nil || flag.Changed || s.env != "" && os.Getenv(s.env) != "" {
			continue
		}
		if err := flag.Value.Set(value); err != nil {
			return err
		}
	}
	return nil
}

// configResult is what 'nibble config' says.
type configResult struct {
	Path   string `json:"path"`
	Values config `json:"values"`
}

func (a *app) configCmd() *cobra.Command {
	list := func(*cobra.Command, []string) error {
		c, err := readConfig(job.ConfigFile())
		if err != nil {
			return err
		}
		a.report.result(configResult{job.ConfigFile(), c}, func(w io.Writer) {
			for _, s := range settings {
				value, ok := c[s.key]
				if !ok {
					value = "-"
				}
				fmt.Fprintf(w, "%-8s %-14s %s\n", s.key, value, s.about)
			}
		})
		return nil
	}
	// change applies a change to one key and writes the file.
	change := func(key string, apply func(c config, s setting) error) error {
		s, err := settingOf(key)
		if err != nil {
			return usagef("%w", err)
		}
		c, err := readConfig(job.ConfigFile())
		if err != nil {
			return err
		}
		if err := apply(c, s); err != nil {
			return err
		}
		if err := c.write(job.ConfigFile()); err != nil {
			return err
		}
		a.report.result(configResult{job.ConfigFile(), c}, func(io.Writer) {})
		return nil
	}
	cmd := &cobra.Command{
		Use: "config", Short: "defaults of flags, kept in a file",
		Long: `config lists the keys of the config file and their values. A key is the default of the flag of
the same name; flags and environment variables win over the file.`,
		Args: args(0, 0), RunE: list,
	}
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "all keys, their values and meanings", Args: args(0, 0), RunE: list},
		&cobra.Command{Use: "get KEY", Short: "the value of a key", Args: args(1, 1), RunE: func(_ *cobra.Command, args []string) error {
			if _, err := settingOf(args[0]); err != nil {
				return usagef("%w", err)
			}
			c, err := readConfig(job.ConfigFile())
			if err != nil {
				return err
			}
			a.report.result(map[string]string{"value": c[args[0]]}, func(w io.Writer) { fmt.Fprintln(w, c[args[0]]) })
			return nil
		}},
		&cobra.Command{Use: "set KEY VALUE", Short: "give a key a value", Args: args(2, 2), RunE: func(_ *cobra.Command, args []string) error {
			return change(args[0], func(c config, s setting) error {
				if err := s.check(args[1]); err != nil {
					return usagef("%s: %w", s.key, err)
				}
				c[s.key] = args[1]
				return nil
			})
		}},
		&cobra.Command{Use: "unset KEY", Short: "take a key out of the file", Args: args(1, 1), RunE: func(_ *cobra.Command, args []string) error {
			return change(args[0], func(c config, s setting) error { delete(c, s.key); return nil })
		}},
		&cobra.Command{Use: "path", Short: "where the file is", Args: args(0, 0), RunE: func(*cobra.Command, []string) error {
			a.report.result(map[string]string{"path": job.ConfigFile()}, func(w io.Writer) { fmt.Fprintln(w, job.ConfigFile()) })
			return nil
		}},
	)
	return cmd
}
