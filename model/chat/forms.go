package chat

import (
	"time"

	"nibble/model/chat/jinja"
)

// Form is a way to mark turns that many models share, for those without a template.
type Form struct {
	Name string
	Stop string // what ends an answer
	// needs are the tokens by which a vocabulary tells that its model knows the form.
	needs []string
	marks
}

// marks stand around messages, by role; a form without a mark for system messages has
// no place for them.
type marks struct{ begin, system, afterSystem, user, afterUser, assistant, afterAssistant string }

// sameMarks are those of a form that differ by the role's name alone.
func sameMarks(begin, before, after, end, assistant string) marks {
	return marks{begin, before + "system" + after, end, before + "user" + after, end, before + assistant + after, end}
}

// forms are tried in this order; the last needs nothing. They are those of the models'
// own templates.
var forms = []Form{
	{Name: "ChatML", Stop: "<|im_end|>", needs: []string{"<|im_start|>", "<|im_end|>"}, marks: sameMarks("", "<|im_start|>", "\n", "<|im_end|>\n", "assistant")},
	{Name: "Llama 3", Stop: "<|eot_id|>", needs: []string{"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
		marks: sameMarks("", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", "assistant")},
	{Name: "Llama 4", Stop: "<|eot|>", needs: []string{"<|header_start|>", "<|header_end|>", "<|eot|>"},
		marks: sameMarks("", "<|header_start|>", "<|header_end|>\n\n", "<|eot|>", "assistant")},
	{Name: "Gemma", Stop: "<end_of_turn>", needs: []string{"<start_of_turn>", "<end_of_turn>"},
		marks: marks{user: "<start_of_turn>user\n", afterUser: "<end_of_turn>\n", assistant: "<start_of_turn>model\n", afterAssistant: "<end_of_turn>\n"}},
	{Name: "Gemma 4", Stop: "<turn|>", needs: []string{"<|turn>", "<turn|>"}, marks: sameMarks("", "<|turn>", "\n", "<turn|>\n", "model")},
	{Name: "Granite", Stop: "<|end_of_text|>", needs: []string{"<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"},
		marks: sameMarks("", "<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>\n", "assistant")},
	{Name: "Harmony", Stop: "<|return|>", needs: []string{"<|start|>", "<|message|>", "<|end|>", "<|return|>"},
		marks: marks{system: "<|start|>developer<|message|># Instructions\n\n", afterSystem: "<|end|>", user: "<|start|>user<|message|>", afterUser: "<|end|>",
			assistant: "<|start|>assistant<|channel|>final<|message|>", afterAssistant: "<|end|>"}},
	{Name: "Command R", Stop: "<|END_OF_TURN_TOKEN|>", needs: []string{"<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"},
		marks: marks{system: "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", afterSystem: "<|END_OF_TURN_TOKEN|>", user: "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", afterUser: "<|END_OF_TURN_TOKEN|>",
			assistant: "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", afterAssistant: "<|END_OF_TURN_TOKEN|>"}},
	{Name: "DeepSeek", Stop: "<｜end▁of▁sentence｜>", needs: []string{"<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"},
		marks: marks{user: "<｜User｜>", assistant: "<｜Assistant｜>", afterAssistant: "<｜end▁of▁sentence｜>"}},
	{Name: "GLM-4", Stop: "<|user|>", needs: []string{"[gMASK]", "<sop>", "<|user|>", "<|assistant|>"},
		marks: marks{begin: "[gMASK]<sop>", system: "<|system|>\n", user: "<|user|>\n", assistant: "<|assistant|>\n"}},
	{Name: "Phi-3", Stop: "<|end|>", needs: []string{"<|user|>", "<|assistant|>", "<|end|>"}, marks: sameMarks("", "<|", "|>\n", "<|end|>\n", "assistant")},
	{Name: "Zephyr", Stop: "</s>", needs: []string{"<|user|>", "<|assistant|>", "</s>"}, marks: sameMarks("", "<|", "|>\n", "</s>\n", "assistant")},
	{Name: "Mistral", Stop: "</s>", needs: []string{"[INST]", "[/INST]", "</s>"},
		marks: marks{user: "[INST] ", afterUser: "[/INST]", afterAssistant: "</s>"}},
	{Name: "User and Assistant", Stop: "\nUser:", marks: marks{system: "", afterSystem: "\n\n", user: "User: ", afterUser: "\n", assistant: "Assistant:", afterAssistant: "\n"}},
}

// formText is the template of all forms; their marks are its variables.
const formText = `{{ bos_token }}{{ begin }}{% for m in messages %}` +
	`{% if m.role == 'user' %}{{ user + m.content + afterUser }}` +
	`{% elif m.role == 'assistant' %}{{ assistant + m.content + afterAssistant }}` +
	`{% elif system or afterSystem %}{{ system + m.content + afterSystem }}{% endif %}` +
	`{% endfor %}{% if add_generation_prompt %}{{ assistant }}{% endif %}`

// Usual returns a template for a model without one: the form whose tokens the
// vocabulary has, or plain names before each turn. bos begins a conversation; it may
// be empty.
func Usual(has func(token string) bool, bos string) (*Template, Form) {
	for _, f := range forms {
		known := true
		for _, token := range f.needs {
			known = known && has(token)
		}
		if known {
			return f.template(bos), f
		}
	}
	panic("the last form needs nothing")
}

// Note tells people that the form is used.
func (f Form) Note() string {
	if f.Plain() {
		return "the model has no chat template: turns are marked by the words User and Assistant, which it may not know"
	}
	return "the model has no chat template: turns are marked as in " + f.Name + ", whose tokens it has"
}

// Plain reports whether the form is one that a model was not trained on.
func (f Form) Plain() bool { return len(f.needs) == 0 }

func (f Form) template(bos string) *Template {
	parsed, err := jinja.Parse(formText)
	if err != nil {
		panic(err) // a text of the program
	}
	m := f.marks
	return &Template{jinja: parsed, now: time.Now, vars: map[string]any{"bos_token": bos, "begin": m.begin, "system": m.system, "afterSystem": m.afterSystem,
		"user": m.user, "afterUser": m.afterUser, "assistant": m.assistant, "afterAssistant": m.afterAssistant}}
}
