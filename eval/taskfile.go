package eval

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"nibble/model/demo"
	"nibble/model/source"
	"nibble/model/text"
)

// ErrTask reports a task file that cannot be read.
var ErrTask = errors.New("task file")

// maxTaskBytes bounds a task file after decompression.
const maxTaskBytes = 1 << 30

// LoadTask reads questions, one JSON object a line, plain or gzipped, in one of
// these forms:
//
//	{"task": "sums", "context": "2 + 2 =", "choices": [" 4", " 5"], "gold": 0}
//	{"request": {"context": ..., "continuation": ...}, "doc_id": 7, "idx": 0, "label": 0, "task_name": ...}
//	{"text": "a passage whose last word is to be guessed"}
//	a line of PIQA, HellaSwag, WinoGrande, ARC, BoolQ, OpenBookQA, SciQ or COPA as published
//
// The second, one line a choice, is that of OLMES's request files; there a
// document's id with an offset of a million is the same document asked without its
// question. The third is that of LAMBADA. Labels may be in a file of their own,
// one a line: valid-labels.lst beside valid.jsonl. For a directory its
// requests.jsonl.gz or valid.jsonl is read.
func LoadTask(path string) (TaskSet, error) {
	name := ""
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		name = filepath.Base(path)
		dir := path
		path = filepath.Join(dir, "requests.jsonl.gz")
		if _, err := os.Stat(path); err != nil {
			if other := filepath.Join(dir, "valid.jsonl"); fileExists(other) {
				path = other
			}
		}
	}
	data, err := readTask(path)
	if err != nil {
		return TaskSet{}, err
	}
	base := strings.TrimSuffix(strings.TrimSuffix(path, ".gz"), ".jsonl")
	if name == "" {
		name = filepath.Base(base)
	}
	if name == "requests" {
		name = filepath.Base(filepath.Dir(path))
	}
	var labels []byte
	if file := base + "-labels.lst"; fileExists(file) {
		if labels, err = readTask(file); err != nil {
			return TaskSet{}, err
		}
	}
	set, err := parseTask(name, data, labels)
	if err != nil {
		return TaskSet{}, fmt.Errorf("%w: %s: %v", ErrTask, path, err)
	}
	return set, nil
}

func fileExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// readTask reads a file of text, unpacked, within maxTaskBytes.
func readTask(path string) ([]byte, error) {
	f, err := source.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTask, err)
	}
	defer f.Close()
	data, err := unpacked(f)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrTask, path, err)
	}
	plain, _, err := text.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrTask, path, err)
	}
	return []byte(plain), nil
}

// unpacked reads a file that gzip may have compressed.
func unpacked(f io.Reader) ([]byte, error) {
	r := bufio.NewReader(f)
	var src io.Reader = r
	if magic, _ := r.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		packed, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		src = packed
	}
	data, err := io.ReadAll(io.LimitReader(src, maxTaskBytes+1))
	if err == nil && len(data) > maxTaskBytes {
		err = fmt.Errorf("more than %d bytes", maxTaskBytes)
	}
	return data, err
}

// DemoTask is the demo model's question set.
func DemoTask() (TaskSet, error) { return parseTask("demo", demo.Questions(), nil) }

// uncondOffset marks the unconditioned twins of OLMES documents.
const uncondOffset = 1_000_000

type taskLine struct {
	Task    string          `json:"task"`
	Context *string         `json:"context"`
	Choices json.RawMessage `json:"choices"`
	Gold    *int            `json:"gold"`

	Request *struct {
		Context      string `json:"context"`
		Continuation string `json:"continuation"`
	} `json:"request"`
	TaskName string          `json:"task_name"`
	DocID    int             `json:"doc_id"`
	Idx      *int            `json:"idx"`
	Label    json.RawMessage `json:"label"`

	Text *string `json:"text"`

	rawLine
}

// taskReader takes lines of any form.
type taskReader struct {
	set    TaskSet
	lines  []int       // of each question: where it begins
	docs   map[int]int // OLMES documents by id: index into the questions
	labels []string    // of a file of their own, one a question
}

func parseTask(name string, data, labels []byte) (TaskSet, error) {
	r := taskReader{set: TaskSet{Name: name, SHA256: demo.SHA256(append(data[:len(data):len(data)], labels...))}, docs: make(map[int]int), labels: strings.Fields(string(labels))}
	for _, record := range text.Records(string(data)) {
		var l taskLine
		err := json.Unmarshal(record.JSON, &l)
		if err == nil {
			err = r.add(l, record.Line)
		}
		if err != nil {
			return TaskSet{}, fmt.Errorf("line %d: %v", record.Line, err)
		}
	}
	if len(r.set.Items) == 0 {
		return TaskSet{}, errors.New("it has no questions")
	}
	if n := len(r.labels); n > 0 && n != len(r.set.Items) {
		return TaskSet{}, fmt.Errorf("it has %d questions, its file of labels has %d", len(r.set.Items), n)
	}
	for i := range r.set.Items {
		if err := r.set.Items[i].validate(); err != nil {
			return TaskSet{}, fmt.Errorf("line %d: %v", r.lines[i], err)
		}
	}
	return r.set, nil
}

func (r *taskReader) question(item Item, line int) {
	item.Task = cmp.Or(item.Task, r.set.Name)
	r.set.Items = append(r.set.Items, item)
	r.lines = append(r.lines, line)
}

// add takes a line of any form.
func (r *taskReader) add(l taskLine, line int) error {
	if l.Request != nil && l.Label != nil {
		return r.addRequest(l, line)
	}
	if l.Context != nil && l.Gold != nil {
		var choices []string
		if err := json.Unmarshal(l.Choices, &choices); err != nil {
			return errors.New("its choices are no list of texts")
		}
		item := Item{Task: l.Task, Gold: *l.Gold}
		for _, c := range choices {
			item.Choices = append(item.Choices, Choice{*l.Context, c})
		}
		r.question(item, line)
		return nil
	}
	label := l.Label
	if n := len(r.set.Items); label == nil && n < len(r.labels) {
		label = json.RawMessage(r.labels[n])
	}
	item, known, err := rawItem(l.rawLine, l.Choices, label)
	switch {
	case err != nil:
		return err
	case known:
		r.question(item, line)
		return nil
	case l.Text != nil:
		at := strings.LastIndexByte(*l.Text, ' ')
		if at < 1 {
			return errors.New("the text has no last word to guess")
		}
		r.question(Item{Greedy: true, Choices: []Choice{{(*l.Text)[:at], (*l.Text)[at:]}}}, line)
		return nil
	}
	return errors.New("it is of no known form: needs context, choices and gold, or request and label, or text")
}

// addRequest takes one choice of an OLMES document, or of its twin.
func (r *taskReader) addRequest(l taskLine, line int) error {
	label, err := strconv.Atoi(string(l.Label))
	if err != nil {
		return fmt.Errorf("the label %.20q is no number", l.Label)
	}
	id, alone := l.DocID, l.DocID >= uncondOffset
	if alone {
		id -= uncondOffset
	}
	i, ok := r.docs[id]
	if !ok {
		if alone {
			return nil // of a document that is not in this file
		}
		i = len(r.set.Items)
		r.docs[id] = i
		r.question(Item{Task: l.TaskName, Gold: label}, line)
	}
	item := &r.set.Items[i]
	choices := &item.Choices
	if alone {
		choices = &item.Alone
	}
	if item.Gold != label || l.Idx != nil && *l.Idx != len(*choices) {
		return fmt.Errorf("document %d: its choices are out of order or disagree on the label", l.DocID)
	}
	*choices = append(*choices, Choice{l.Request.Context, l.Request.Continuation})
	return nil
}

// validate reports what makes a question no question. Equal choices are allowed:
// the first of them counts.
func (item *Item) validate() error {
	if len(item.Choices) < 2 && !item.Greedy {
		return errors.New("one choice is none")
	}
	if item.Gold < 0 || item.Gold >= len(item.Choices) {
		return fmt.Errorf("the right answer is number %d of %d choices (the first is 0)", item.Gold, len(item.Choices))
	}
	for _, c := range item.Choices {
		if c.Continuation == "" {
			return errors.New("an empty choice")
		}
	}
	if n := len(item.Alone); n > 0 && n != len(item.Choices) {
		return fmt.Errorf("%d of its %d choices come without the question", n, len(item.Choices))
	}
	return nil
}
