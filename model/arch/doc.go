// Package arch describes language models as data: what a model is made of, which
// stored tensor each part is, and how the parts follow each other. Everything
// else in nibble interprets such a description and knows no family of models.
//
// A family is one file: a function that turns config.json into a [Model], and
// the names its tensors have in GGUF where those differ from the usual ones.
// [Read] finds the family of a config and calls it.
//
// # Rules of the floor
//
// A description is plain data, made once and never changed. The package opens no
// files and computes nothing of a model. Of nibble it imports only how to quote what
// a file says.
package arch
