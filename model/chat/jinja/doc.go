// Package jinja renders the part of Jinja2 that the chat templates of language
// models are written in (https://jinja.palletsprojects.com/en/stable/templates),
// as transformers configures it: trim_blocks, lstrip_blocks, loop controls, an
// immutable sandbox, no automatic escaping
// (https://huggingface.co/docs/transformers/chat_templating).
//
// # What there is
//
//   - Statements: if, for (with if, else, recursive, break, continue and loop),
//     set, set blocks, namespaces, macro, call, filter, with, raw, comments,
//     and transformers' generation, all with whitespace control.
//   - Expressions: all operators and literals, slices, conditional expressions,
//     named arguments, filters and tests.
//   - The filters, tests, string, list and dictionary methods and global
//     functions that are listed in the tables filters, tests, stringMethods,
//     listMethods, dictMethods and globals.
//   - Python's rules for values: truth, equality, order, indexing from the end,
//     the spelling of numbers, strings and containers, json.dumps.
//   - Text marked by the filter safe, which escapes what it is joined to by +.
//
// # What there is not
//
//   - Other templates: include, import, extends, block. Templates reach no file
//     and no object of the program.
//   - *args and **kwargs, varargs and kwargs of macros, dictionary keys that are
//     tuples, format specifications in str.format.
//   - Integers of more than 64 bits: they are an error, never a wrong number.
//   - Generators and views: what Python makes lazily is a list here.
//
// # Values
//
// A value is nil, a bool, an int64, a float64, a string, a [*List], a [*Dict] or
// a [Func]; these may be given to Render. A template also makes safe text,
// undefined values, namespaces, macros and loops. Values never change once made,
// but for namespaces.
//
// # Bounds
//
// A template is a stranger's program. [Parse] bounds its size and nesting.
// [Template.Render] charges for every node evaluated and for every element and
// byte that is made, searched or compared, before making it, and stops at the
// [Limits] or when its context ends. So time and memory are bounded together,
// whatever the template is. Nothing in a template can make the package panic.
package jinja
