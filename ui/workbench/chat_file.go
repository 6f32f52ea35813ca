package workbench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"nibble/kernels/durable"
	"nibble/model/chat"
	"nibble/model/source"
	"nibble/ui/term"
)

// transcript is a conversation as it is kept: a line of JSON, which 'nibble eval --text'
// and --calib read as well.
type transcript struct {
	Messages []chat.Message `json:"messages"`
}

// maxTranscript bounds a file that is read, in bytes.
const maxTranscript = 16 << 20

// saveTranscript writes a conversation to a new file of a directory.
func saveTranscript(dir string, messages []chat.Message) (string, error) {
	data, err := json.Marshal(transcript{messages})
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, time.Now().Format("chat-20060102-150405.jsonl"))
	return path, durable.WriteFile(path, data, []byte("\n"))
}

// errTranscript refuses a file that holds no conversation.
var errTranscript = errors.New(`is no conversation: a line of JSON with "messages" of "user" and "assistant" in turn`)

// readTranscript reads the first conversation of a file: its instructions and its turns.
func readTranscript(path string) (system string, turns []chatTurn, err error) {
	data, _, err := source.Read(path, maxTranscript)
	if err != nil {
		return "", nil, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	var t transcript
	if json.Unmarshal(line, &t) != nil || len(t.Messages) == 0 {
		return "", nil, fmt.Errorf("%s %w", path, errTranscript)
	}
	messages := t.Messages
	if messages[0].Role == "system" {
		system, messages = messages[0].Content, messages[1:]
	}
	for i, m := range messages {
		switch {
		case i%2 == 0 && m.Role == "user":
			turns = append(turns, chatTurn{user: m.Content, saved: true})
		case i%2 == 1 && m.Role == "assistant":
			turns[len(turns)-1].answer = term.Clean(m.Content)
		default:
			return "", nil, fmt.Errorf("%s %w", path, errTranscript)
		}
	}
	return system, turns, nil
}

// messages are turns as the model is told them.
func messages(system string, turns []chatTurn) []chat.Message {
	var out []chat.Message
	if system != "" {
		out = append(out, chat.Message{Role: "system", Content: system})
	}
	for _, t := range turns {
		out = append(out, chat.Message{Role: "user", Content: t.user}, chat.Message{Role: "assistant", Content: t.answer})
	}
	return out
}

// newestTranscript is the last that was saved, "" if there is none.
func newestTranscript(dir string) string {
	names, _ := filepath.Glob(filepath.Join(dir, "chat-*.jsonl"))
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1] // their names are in the order of time
}
