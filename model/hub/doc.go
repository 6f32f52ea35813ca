// Package hub downloads models from the Hugging Face hub, or a mirror of it, into the
// cache that other programs use as well: what Python's huggingface_hub or llama.cpp
// have downloaded is found, and they find what this package downloads.
//
// A model is named by a [Ref], [Settings] are what the environment says, [Pull]
// downloads, [Settings.Find] looks into the cache alone.
//
// # Rules
//
// The hub is hostile input like any file: names stay inside of the cache, sizes are
// checked before anything is written, what was downloaded has the hash that the hub
// names, or is thrown away. A token goes to the hub's own host and nowhere else, and
// into no message. What is interrupted goes on the next time; a file has its name
// once it is whole. Nothing is tried without end.
//
// The layout of the cache is described at
// https://huggingface.co/docs/hub/local-cache. The package knows files and their
// names, not what is in them: it imports model/source and kernels/durable, not model.
package hub
