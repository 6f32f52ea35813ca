// Package durable keeps what the program writes whole: files that are replaced in
// one step, JSON that shows whether it is damaged, logs that lose no more than the
// line that was cut, and locks that end with their process.
//
// It is part of the lowest floor, so that every floor can use it, and knows nothing
// of what it keeps.
package durable
