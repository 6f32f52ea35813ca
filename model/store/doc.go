// Package store knows where models lie on this machine and what they are called
// there: directories and files, the cache of the Hugging Face hub, Ollama's and LM
// Studio's stores.
//
// [Open] opens a model by what it is called, and downloads one of the hub that is not
// there yet; [List] says what there is and whether it can be opened.
//
// # Rules
//
// What lies there belongs to other programs: it is read, never changed, and it is
// hostile input: names stay inside of a store, sizes are bounded. Looking at a model
// reads headers, no weights. The package imports model and model/hub; nothing of
// model imports it.
package store
