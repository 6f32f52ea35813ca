package workbench

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"nibble/kernels/durable"
	"nibble/model/source"
	"nibble/ui/theme"
)

// remembered is what comes back the next time.
type remembered struct {
	Page  string `json:"page"`
	Theme string `json:"theme"`
}

// maxRemembered bounds its file, in bytes.
const maxRemembered = 1 << 16

// recall goes to where the workbench was left. What is missing or means nothing is as the
// first time; a theme that was asked for now stays.
func (a *app) recall(path string, themed bool) {
	data, _, err := source.Read(path, maxRemembered)
	var r remembered
	if err != nil || json.Unmarshal(data, &r) != nil {
		return
	}
	if th, err := theme.Named(r.Theme); err == nil && !themed {
		a.th = th
	}
	a.at = max(0, slices.IndexFunc(a.pages, func(p page) bool { return p.name() == r.Page }))
}

// remember writes where the workbench is left.
func (a *app) remember(path string) error {
	data, err := json.Marshal(remembered{a.pages[a.at].name(), a.th.Name})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, data, []byte("\n"))
}
