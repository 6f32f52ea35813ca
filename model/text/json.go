package text

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"nibble/model/chat"
)

// Record is a value of a JSON file.
type Record struct {
	Line int // where it is, from 1; of an array, the number of the element
	JSON json.RawMessage
}

// Records returns the values of JSON lines, or the elements of a JSON array that is
// the whole file.
func Records(text string) []Record {
	var records []Record
	var array []json.RawMessage
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "[") && json.Unmarshal([]byte(trimmed), &array) == nil {
		for i, e := range array {
			records = append(records, Record{i + 1, e})
		}
		return records
	}
	n := 0
	for line := range bytes.Lines([]byte(text)) {
		n++
		if line = bytes.TrimSpace(line); len(line) > 0 {
			records = append(records, Record{n, line})
		}
	}
	return records
}

// Text is what a file says.
type Text struct {
	Text  string
	Chats bool // special tokens are spelled out, as the model's template writes them
	Notes []string
}

// Parse reads a file: JSON lines or an array, of texts, of objects with a "text", or
// of chats, with "messages" as OpenAI writes them or "conversations" as ShareGPT
// does, which the template renders if there is one; what is no JSON, as it is.
func Parse(data []byte, template *chat.Template) (Text, error) {
	plain, notes, err := Decode(data)
	if err != nil {
		return Text{}, err
	}
	t := Text{Text: plain, Notes: notes}
	records, unit := Records(plain), "line"
	switch begin := strings.TrimSpace(plain); {
	case begin[0] == '{' && json.Valid([]byte(begin)): // over several lines, perhaps
		records = []Record{{1, json.RawMessage(begin)}}
	case begin[0] == '[' && json.Valid([]byte(begin)):
		unit = "element"
	case begin[0] == '{' && strings.HasPrefix(strings.TrimSpace(begin[1:]), `"`): // JSON lines, whatever is wrong with them
	case brokenArray.MatchString(begin):
		var array []json.RawMessage
		return Text{}, fmt.Errorf("it begins as a JSON array, but is none: %s", fault(json.Unmarshal([]byte(begin), &array)))
	default:
		for _, r := range records {
			if r.JSON[0] != '"' || !json.Valid(r.JSON) {
				return t, nil // prose
			}
		}
	}
	var parts []string
	for _, r := range records {
		part, rendered, err := said(r.JSON, template)
		if err != nil {
			return Text{}, fmt.Errorf("%s %d: %w", unit, r.Line, err)
		}
		parts, t.Chats = append(parts, part), t.Chats || rendered
	}
	if t.Text = strings.Join(parts, "\n"); strings.TrimSpace(t.Text) == "" {
		return Text{}, errors.New("its texts are empty")
	}
	return t, nil
}

// brokenArray is how an array of objects or of strings begins, which prose does not.
var brokenArray = regexp.MustCompile(`^\[\s*(\{\s*"|"(?:[^"\\\n]|\\.)*"\s*,\s*["\]])`)

// fault is an error of encoding/json for people.
func fault(err error) string {
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return fmt.Sprintf("byte %d: %v", syntax.Offset, syntax)
	}
	if kind := (*json.UnmarshalTypeError)(nil); errors.As(err, &kind) {
		at := ""
		if kind.Field != "" {
			at = " as " + strconv.Quote(kind.Field)
		}
		return fmt.Sprintf("a JSON %s%s is no text", kind.Value, at)
	}
	return err.Error()
}

// turn is a message of a chat as OpenAI writes it: the content is a text or a list
// of parts.
type turn struct {
	Role    string
	Content content
}

// content is what a turn says.
type content string

func (c *content) UnmarshalJSON(data []byte) error {
	var parts []struct{ Type, Text string }
	if len(data) == 0 || data[0] != '[' {
		return json.Unmarshal(data, (*string)(c))
	}
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	var said strings.Builder
	for _, p := range parts {
		if p.Type != "text" {
			return fmt.Errorf("a message has a part of type %q, which is no text", p.Type)
		}
		said.WriteString(p.Text)
	}
	*c = content(said.String())
	return nil
}

// said is the text of a JSON value.
func said(value json.RawMessage, template *chat.Template) (text string, rendered bool, err error) {
	if json.Unmarshal(value, &text) == nil && value[0] == '"' {
		return text, false, nil
	}
	var l struct {
		Text          *string
		Messages      []turn
		Conversations []struct{ From, Value string }
	}
	if err := json.Unmarshal(value, &l); err != nil {
		return "", false, fmt.Errorf("it is not such JSON: %s", fault(err))
	}
	if l.Text != nil {
		return *l.Text, false, nil
	}
	var messages []chat.Message
	for _, m := range l.Messages {
		messages = append(messages, chat.Message{Role: m.Role, Content: string(m.Content)})
	}
	roles := map[string]string{"human": "user", "gpt": "assistant"}
	for _, c := range l.Conversations {
		messages = append(messages, chat.Message{Role: cmp.Or(roles[c.From], c.From), Content: c.Value})
	}
	if len(messages) == 0 {
		return "", false, errors.New("there is neither \"text\" nor \"messages\" nor \"conversations\"")
	}
	if template != nil {
		text, err = template.Render(context.Background(), messages, false)
		return text, true, err
	}
	var turns []string
	for _, m := range messages {
		turns = append(turns, m.Content)
	}
	return strings.Join(turns, "\n"), false, nil
}
