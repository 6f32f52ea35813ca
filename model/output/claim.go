package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"nibble/kernels/durable"
)

// Claim is the sole right to write an output. It ends with Release or the process.
type Claim struct {
	Place
	held *durable.Lock
}

// claimTries is how often the work directory is made anew that another removes.
const claimTries = 10

// Claim takes a place that nothing occupies, and makes its work directory.
func (p Place) Claim() (*Claim, error) {
	var err error
	for range claimTries {
		if err = os.MkdirAll(p.Work(), 0o755); err != nil {
			break
		}
		var lock *durable.Lock
		if lock, err = durable.TryLock(p.lock()); errors.Is(err, fs.ErrNotExist) {
			continue // whoever had it ends now
		} else if err != nil {
			break
		}
		c := &Claim{p, lock}
		if now, err := Find(p.Path, p.kind); err != nil || now.Occupied != nil {
			c.Release() // another finished it since the place was found
			return nil, errors.Join(err, now.Occupied)
		}
		return c, nil
	}
	if held := (*durable.Held)(nil); errors.As(err, &held) {
		return nil, p.busy(held)
	}
	return nil, p.unwritable(err)
}

// Clear removes what is in the work directory.
func (c *Claim) Clear() error {
	entries, err := os.ReadDir(c.Work())
	for _, e := range entries {
		if e.Name() != lockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(c.Work(), e.Name())))
		}
	}
	if err != nil {
		return c.unwritable(err)
	}
	return nil
}

// Publish gives what has a name in the work directory that of the output, unless
// something else has taken it.
func (c *Claim) Publish(name string) error {
	info, err := os.Lstat(c.real)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err == nil && c.kind == Directory && info.IsDir():
		err = os.Remove(c.real) // an empty directory gives way, another does not
	case err == nil:
		err = errors.New("it has come into being since the work began; move it away")
	}
	if err == nil {
		err = os.Rename(filepath.Join(c.Work(), name), c.real)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(c.real))
	}
	if err != nil {
		return c.unwritable(err)
	}
	return nil
}

// Release ends the claim. What is in the work directory stays for the next one of
// the same place; without anything it is removed. On nil it does nothing.
func (c *Claim) Release() {
	if c == nil {
		return
	}
	c.held.Unlock()
	os.Remove(c.Work()) //nolint:errcheck // something is in it
}

// Take finds a place that must be free and claims it.
func Take(path string, kind Kind) (*Claim, error) {
	p, err := Find(path, kind)
	if err != nil {
		return nil, err
	}
	if p.Occupied != nil {
		if kind == File { // of which nothing goes on
			p.Forget()
		}
		return nil, p.Occupied
	}
	return p.Claim()
}

// Forget removes what is left of the making of an output that is finished.
func (p Place) Forget() {
	if _, err := os.Lstat(p.Work()); err != nil {
		return
	}
	if lock, err := durable.TryLock(p.lock()); err == nil {
		c := Claim{p, lock}
		c.Clear() //nolint:errcheck // it stays, and is in nobody's way
		c.Release()
	}
}
