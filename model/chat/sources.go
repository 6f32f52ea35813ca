package chat

import (
	"encoding/json"
	"slices"
	"strings"
)

// defaultName is that of the template for conversations, among several.
const defaultName = "default"

// Files are where a model's chat templates are.
type Files struct {
	Config    []byte            // tokenizer_config.json
	Template  []byte            // chat_template.jinja
	Older     []byte            // chat_template.json
	Templates map[string]string // additional_chat_templates, without the extension
}

// Named is a template's text with its name.
type Named struct{ Name, Text string }

// Sources returns the texts of a model's templates, the default one first: that of
// chat_template.jinja, else the key chat_template of tokenizer_config.json or
// chat_template.json, which is a text or a list of named ones. Where none is called
// "default", it is the first of the list.
func (f Files) Sources() []Named {
	var all []Named
	add := func(name, text string) {
		if text != "" && !slices.ContainsFunc(all, func(n Named) bool { return n.Name == name }) {
			all = append(all, Named{name, text})
		}
	}
	add(defaultName, string(f.Template))
	for _, file := range [][]byte{f.Config, f.Older} {
		var cfg struct {
			Template json.RawMessage `json:"chat_template"`
		}
		if json.Unmarshal(file, &cfg) != nil {
			continue
		}
		for _, n := range configTemplates(cfg.Template) {
			add(n.Name, n.Text)
		}
	}
	names := make([]string, 0, len(f.Templates))
	for name := range f.Templates {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		add(name, f.Templates[name])
	}
	if i := slices.IndexFunc(all, func(n Named) bool { return n.Name == defaultName }); i > 0 {
		all[0], all[i] = all[i], all[0]
	}
	return all
}

// configTemplates reads a text or a list of named ones.
func configTemplates(raw json.RawMessage) []Named {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []Named{{defaultName, one}}
	}
	var list []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var all []Named
	for _, n := range list {
		all = append(all, Named{n.Name, n.Template})
	}
	return all
}

// spell lists names for people.
func spell(sources []Named) string {
	names := make([]string, len(sources))
	for i, n := range sources {
		names[i] = n.Name
	}
	return strings.Join(names, ", ")
}
