package eval

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// rawLine has the fields of well-known benchmarks as they are published. Their
// prompts are lm-evaluation-harness's.
type rawLine struct {
	// PIQA.
	Goal *string `json:"goal"`
	Sol1 string  `json:"sol1"`
	Sol2 string  `json:"sol2"`
	// HellaSwag.
	Endings  []string `json:"endings"`
	Activity string   `json:"activity_label"`
	CtxA     string   `json:"ctx_a"`
	CtxB     string   `json:"ctx_b"`
	// WinoGrande.
	Sentence *string `json:"sentence"`
	Option1  string  `json:"option1"`
	Option2  string  `json:"option2"`
	// ARC, BoolQ, OpenBookQA, SciQ and COPA.
	Passage     *string         `json:"passage"`
	Stem        *string         `json:"question_stem"`
	Question    json.RawMessage `json:"question"`
	Answer      json.RawMessage `json:"answer"`
	AnswerKey   string          `json:"answerKey"`
	Support     string          `json:"support"`
	Correct     *string         `json:"correct_answer"`
	Distractor1 string          `json:"distractor1"`
	Distractor2 string          `json:"distractor2"`
	Distractor3 string          `json:"distractor3"`
	Premise     *string         `json:"premise"`
	Choice1     string          `json:"choice1"`
	Choice2     string          `json:"choice2"`
}

// rawItem makes a question of a benchmark's own line. label is the line's label,
// or what a file of labels has for it; nil if there is none. It returns false for
// a line of no known form.
func rawItem(r rawLine, choices json.RawMessage, label json.RawMessage) (Item, bool, error) {
	var question string
	_ = json.Unmarshal(r.Question, &question) // where it is an object, see arcItem
	switch {
	case r.Goal != nil:
		return labelled("Question: "+*r.Goal+"\nAnswer:", []string{r.Sol1, r.Sol2}, label)
	case r.Endings != nil:
		endings := make([]string, len(r.Endings))
		for i, e := range r.Endings {
			endings[i] = withoutMarks(e)
		}
		return labelled(withoutMarks(r.Activity+": "+r.CtxA+" "+capitalize(r.CtxB)), endings, label)
	case r.Sentence != nil:
		return winograndeItem(r)
	case r.Passage != nil:
		if label == nil {
			label = r.Answer
		}
		return labelled(*r.Passage+"\nQuestion: "+question+"?\nAnswer:", []string{"no", "yes"}, label)
	case r.Correct != nil:
		context := strings.TrimLeftFunc(r.Support, unicode.IsSpace) + "\nQuestion: " + question + "\nAnswer:"
		return joined(context, []string{r.Distractor1, r.Distractor2, r.Distractor3, *r.Correct}, 3), true, nil
	case r.Premise != nil:
		return copaItem(r, question, label)
	case r.AnswerKey != "":
		return arcItem(r, question, choices)
	}
	return Item{}, false, nil
}

// joined makes a question whose choices follow the context after a space.
func joined(context string, choices []string, gold int) Item {
	item := Item{Gold: gold}
	for _, c := range choices {
		item.Choices = append(item.Choices, Choice{context, " " + c})
	}
	return item
}

// labelled is joined with a label, which may be a number, one in quotes, or a
// truth value.
func labelled(context string, choices []string, label json.RawMessage) (Item, bool, error) {
	text := strings.Trim(string(label), `"`)
	switch text {
	case "true":
		return joined(context, choices, 1), true, nil
	case "false":
		return joined(context, choices, 0), true, nil
	case "":
		return Item{}, true, errors.New("there is no label: which choice is right?")
	}
	gold, err := strconv.Atoi(text)
	if err != nil {
		return Item{}, true, fmt.Errorf("the label %.20q is no number", text)
	}
	return joined(context, choices, gold), true, nil
}

// winograndeItem scores what follows the blank, with either option in it: partial
// scoring (Trinh and Le, arXiv:1806.02847).
func winograndeItem(r rawLine) (Item, bool, error) {
	before, after, ok := strings.Cut(*r.Sentence, "_")
	if !ok {
		return Item{}, true, errors.New("the sentence has no blank (_)")
	}
	answer := strings.Trim(string(r.Answer), `"`)
	if answer != "1" && answer != "2" {
		return Item{}, true, fmt.Errorf("the answer %.20q is neither 1 nor 2", answer)
	}
	target := " " + strings.TrimSpace(after)
	return Item{Gold: int(answer[0] - '1'), Choices: []Choice{{before + r.Option1, target}, {before + r.Option2, target}}}, true, nil
}

func copaItem(r rawLine, question string, label json.RawMessage) (Item, bool, error) {
	connector, ok := map[string]string{"cause": "because", "effect": "therefore"}[question]
	if !ok {
		return Item{}, true, fmt.Errorf("the question %.20q is neither cause nor effect", question)
	}
	premise := strings.TrimSpace(*r.Premise)
	_, last := utf8.DecodeLastRuneInString(premise) // the full stop
	return labelled(premise[:len(premise)-last]+" "+connector, []string{uncapitalize(r.Choice1), uncapitalize(r.Choice2)}, label)
}

// arcItem reads ARC and OpenBookQA, whose choices come as two lists, of texts and
// of labels, or in their authors' files as a list of pairs within the question.
func arcItem(r rawLine, question string, choices json.RawMessage) (Item, bool, error) {
	var lists struct{ Text, Label []string }
	if err := json.Unmarshal(choices, &lists); err != nil {
		var nested struct {
			Stem    string
			Choices []struct{ Text, Label string }
		}
		if err := json.Unmarshal(r.Question, &nested); err != nil {
			return Item{}, true, errors.New("its choices have no texts and labels")
		}
		question = nested.Stem
		for _, c := range nested.Choices {
			lists.Text, lists.Label = append(lists.Text, c.Text), append(lists.Label, c.Label)
		}
	}
	gold := slices.Index(lists.Label, strings.TrimSpace(r.AnswerKey))
	if gold < 0 || len(lists.Text) != len(lists.Label) {
		return Item{}, true, fmt.Errorf("the answer %.20q is none of its choices", r.AnswerKey)
	}
	if r.Stem != nil {
		return joined(*r.Stem, lists.Text, gold), true, nil
	}
	return joined("Question: "+question+"\nAnswer:", lists.Text, gold), true, nil
}

var marks = regexp.MustCompile(`\[.*?\]`)

// withoutMarks cleans HellaSwag's texts of what WikiHow left in them.
func withoutMarks(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), " [title]", ". ")
	return strings.ReplaceAll(marks.ReplaceAllString(s, ""), "  ", " ")
}

// capitalize makes the first letter a capital and all others small, as Python's
// method does.
func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToTitle(r)) + strings.ToLower(s[n:])
}

func uncapitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToLower(r)) + s[n:]
}
