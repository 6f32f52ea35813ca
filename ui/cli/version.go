package cli

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"nibble/kernels"
)

// build is which nibble this is.
type build struct {
	Version  string      `json:"version"`
	Revision string      `json:"revision,omitempty"`
	Modified bool        `json:"modified,omitempty"` // since the revision
	Go       string      `json:"go"`
	OS       string      `json:"os"`
	Arch     string      `json:"arch"`
	ISA      kernels.ISA `json:"isa"` // that kernels are chosen from on this machine
}

// thisBuild reads what the compiler kept.
func thisBuild() build {
	b := build{Version: "unknown", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(info.Main.Version, b.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (b build) text(w io.Writer) {
	fmt.Fprintf(w, "nibble %s", b.Version)
	if b.Revision != "" {
		fmt.Fprintf(w, ", revision %.12s", b.Revision)
		if b.Modified {
			fmt.Fprint(w, " with changes")
		}
	}
	fmt.Fprintf(w, ", %s, %s/%s, kernels for %s\n", b.Go, b.OS, b.Arch, b.ISA)
}

// version is 'nibble version' and 'nibble --version'.
func (a *app) version() error {
	eng, err := a.engine()
	if err != nil {
		return err
	}
	defer eng.Close()
	b := thisBuild()
	b.ISA = eng.ISA()
	a.report.result(b, b.text)
	return nil
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "which nibble this is, and for which kernels", Args: args(0, 0),
		RunE: func(*cobra.Command, []string) error { return a.version() },
	}
}
