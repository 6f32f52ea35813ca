// Package pool runs parallel loops on threads that wait for them.
package pool
