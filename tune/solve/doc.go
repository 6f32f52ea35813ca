// Package solve finds recipes for what they are predicted to lose and take.
//
// A Problem is the classes of a model's matrices with their options and the limits
// of a search, as one value: asking it changes nothing, and a question with other
// limits or fewer options is asked of a changed copy. Answers come from package
// knapsack and are exact. The package measures nothing.
package solve
