// Package job says what each job of the pipeline is: opening a model, quantizing,
// evaluating, tuning, generating. A job is plain data in the words of the command
// line's flags; its For method reads what it names and gives what the engine is
// run with. The command line and the workbench both ask here, so the same request has
// the same answer in both, and each goes on with what the other began.
//
// Here are the defaults that need a model to be known (texts, questions, calibration,
// sampling), the notes that a user should read beside a result, and the sentences that
// both show. The package knows neither flags nor screens.
package job

import (
	"path/filepath"

	"github.com/adrg/xdg"
)

// CacheDir holds what can be made again: measurements of this machine, the answers of
// float models.
func CacheDir() string { return filepath.Join(xdg.CacheHome, "nibble") }

// StateDir holds what is worth keeping: runs, and what is known of crashes.
func StateDir() string { return filepath.Join(xdg.StateHome, "nibble") }

// ChatsDir holds the conversations that were saved.
func ChatsDir() string { return filepath.Join(StateDir(), "chats") }

// RunsDir holds the runs of the tuner.
func RunsDir() string { return filepath.Join(StateDir(), "runs") }

// ConfigFile keeps the defaults that the user chose.
func ConfigFile() string { return filepath.Join(xdg.ConfigHome, "nibble", "config.json") }
