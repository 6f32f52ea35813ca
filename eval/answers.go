package eval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"

	"nibble/model/jsonnum"
)

// answersFile keeps a base model's answers to a set of questions.
type answersFile struct {
	Key     string          `json:"key"`
	Model   string          `json:"model"` // for people
	Task    string          `json:"task"`  // for people
	Sum     string          `json:"sum"`   // SHA-256 of the answers
	Answers json.RawMessage `json:"answers"`
}

// answers recalls what the reference's model answered, or asks it.
func (ref *Reference) answers(ctx context.Context, s *scorer, set TaskSet, l Listener) (taskAnswers, error) {
	c := newCache(ref.options.CacheDir)
	key := c.key(ref.Model, "answers", set.SHA256)
	if key == "" {
		return ask(ctx, s, set, l)
	}
	path := c.path(key, ".answers")
	if !ref.options.Refresh {
		if answers, ok := loadAnswers(c, path, key, set); ok {
			return answers, nil
		}
	}
	var answers taskAnswers
	err := ref.Model.Guard(func() (err error) {
		answers, err = ask(ctx, s, set, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	body, err := jsonnum.Marshal(answers)
	if err != nil {
		return nil, err
	}
	data, err := jsonnum.Marshal(answersFile{key, ref.Model.Name, set.Name, sumOf(body), body})
	if err != nil {
		return nil, err
	}
	if err := c.put(path, data); err != nil {
		ref.unkept(err)
	}
	return answers, nil
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// loadAnswers takes over a file if it is whole and what is wanted.
func loadAnswers(c cache, path, key string, set TaskSet) (taskAnswers, bool) {
	f, err := c.open(path)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTaskBytes))
	if err != nil {
		return nil, false
	}
	var file answersFile
	var answers taskAnswers
	if jsonnum.Unmarshal(data, &file) != nil || file.Key != key || file.Sum != sumOf(file.Answers) || jsonnum.Unmarshal(file.Answers, &answers) != nil ||
		len(answers) != len(set.Items) {
		return nil, false
	}
	for i, a := range answers {
		if len(a.LogProbs) != len(set.Items[i].Choices) || len(a.Alone) != len(set.Items[i].Alone) {
			return nil, false
		}
	}
	return answers, true
}
