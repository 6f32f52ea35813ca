package exit

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"nibble/kernels/panics"
)

// Crash writes what is known about a panic to a file in a directory and returns
// what to tell. Where the file cannot be written, it goes to stderr.
func (o *Owner) Crash(c *panics.Carried, dir string) error {
	build := "unknown build"
	if info, ok := debug.ReadBuildInfo(); ok {
		build = info.String()
	}
	text := fmt.Sprintf("nibble: internal error: %v\n\n%s\n%s\n%v\n", c.Value, c.Stack, build, os.Args)
	path := filepath.Join(dir, fmt.Sprintf("crash-%s-%d.txt", time.Now().Format("20060102-150405"), os.Getpid()))
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = true
	why := fmt.Sprintf("internal error: %v; what is finished is kept; please report it with %s", c.Value, path)
	if err != nil {
		fmt.Fprint(o.stderr, text)
		why = fmt.Sprintf("internal error: %v; what is finished is kept; please report it with the lines above", c.Value)
	}
	return o.interruption(why)
}
