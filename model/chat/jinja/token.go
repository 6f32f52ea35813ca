package jinja

type tokenKind uint8

const (
	tokenEnd        tokenKind = iota // of the template
	tokenText                        // outside of tags
	tokenBlockBegin                  // {%
	tokenBlockEnd                    // %}
	tokenPrintBegin                  // {{
	tokenPrintEnd                    // }}
	tokenName
	tokenString // its value
	tokenInt    // as written
	tokenFloat  // as written
	tokenOperator
)

type token struct {
	kind tokenKind
	line int32
	text string
}

// String describes a token in a message.
func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end of the template"
	case tokenText:
		return "text"
	case tokenBlockBegin:
		return "{%"
	case tokenBlockEnd:
		return "%}"
	case tokenPrintBegin:
		return "{{"
	case tokenPrintEnd:
		return "}}"
	case tokenString:
		return "a string"
	}
	return "'" + t.text + "'"
}
