package exit

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"nibble/kernels/panics"
)

// keep writes what is known about a panic to a file and says where it is; on stderr
// if there can be none.
func (o *Owner) keep(c *panics.Carried) string {
	build := "unknown build"
	if info, ok := debug.ReadBuildInfo(); ok {
		build = info.String()
	}
	text := fmt.Sprintf("nibble: internal error: %v\n\n%s\n%s\n%v\n", c.Value, c.Stack, build, os.Args)
	path := filepath.Join(o.crashes, fmt.Sprintf("crash-%s-%d.txt", time.Now().Format("20060102-150405"), os.Getpid()))
	err := os.MkdirAll(o.crashes, 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		fmt.Fprint(o.stderr, text)
		path = "the lines above"
	}
	return "what is finished is kept; please report it with " + path
}
