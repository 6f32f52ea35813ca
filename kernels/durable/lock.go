package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Lock is a file that one process at a time holds. The system ends the hold with
// the process, however that ends: a lock is never stale.
type Lock struct {
	path string
	f    *os.File
}

// Owner is the process that holds a lock.
type Owner struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// String names the process.
func (o Owner) String() string {
	if o.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d (%s), since %s", o.PID, o.Command, o.Since.Format(time.DateTime))
}

// Held is the error of a lock that another has.
type Held struct{ Owner Owner }

// Error implements error.
func (h *Held) Error() string { return "it is in use by " + h.Owner.String() }

// Who asks whether a lock is held has it for a moment: it is tried again for so
// long as nobody has put a name to it.
const (
	lockTries = 20
	lockPause = 5 * time.Millisecond
)

// TryLock takes the lock of a file, which it makes, or returns a *Held at once.
// Where the file system has no locks there is no protection.
func TryLock(path string) (*Lock, error) {
	for try := 1; ; try++ {
		l, err := tryLock(path)
		held := (*Held)(nil)
		if err == nil && l == nil || errors.As(err, &held) && held.Owner.PID == 0 && try < lockTries {
			time.Sleep(lockPause)
			continue
		}
		return l, err
	}
}

// tryLock returns neither if the file was removed on the way.
func tryLock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if !lockFile(f, true) {
		owner := readOwner(f)
		f.Close()
		return nil, &Held{owner}
	}
	if !isAt(f, path) { // its owner removed it after it was opened here
		f.Close()
		return nil, nil
	}
	// A name that cannot be written, as on a full disk, is missing from messages.
	if data, err := json.Marshal(Owner{os.Getpid(), command(), time.Now().Truncate(time.Second)}); err == nil && f.Truncate(0) == nil {
		_, _ = f.WriteAt(data, 0)
	}
	return &Lock{path, f}, nil
}

// isAt reports whether an open file is the one that has the path.
func isAt(f *os.File, path string) bool {
	have, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(have, there)
}

// Unlock ends the hold and removes the file. On nil it does nothing.
func (l *Lock) Unlock() {
	if l == nil || l.f == nil {
		return
	}
	mine := isAt(l.f, l.path)
	removed := mine && os.Remove(l.path) == nil // while it is held: nobody else's is removed
	l.f.Close()
	if mine && !removed {
		os.Remove(l.path) //nolint:errcheck // for systems that remove no open files
	}
	l.f = nil
}

// HeldBy returns who holds the lock of a file; ok is false if nobody does.
func HeldBy(path string) (owner Owner, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return owner, false
	}
	defer f.Close()
	if lockFile(f, false) {
		return owner, false
	}
	return readOwner(f), true
}

// maxOwner bounds what a lock's file may say.
const maxOwner = 4096

func readOwner(f *os.File) (o Owner) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, maxOwner))
	if err != nil && !errors.Is(err, fs.ErrClosed) || json.Unmarshal(data, &o) != nil {
		return Owner{}
	}
	return o
}

// command is this process's command line, shortened.
func command() string {
	const most = 200
	words := append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)
	text := strings.ToValidUTF8(strings.Join(words, " "), "?")
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return text
}
