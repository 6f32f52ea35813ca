// Package number converts between the storage types of floats, and rounds the way that
// every tier does.
package number
