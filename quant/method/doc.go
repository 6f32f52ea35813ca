// Package method has the methods, each in a file that registers it: what it is, needs,
// fits, costs and does. Nothing else names methods: recipes, plans, the tuner, advice and
// help ask All and Named.
package method
