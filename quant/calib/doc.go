// Package calib measures a model with a text: samples drawn from it, how often tokens
// occur, and the sequence that follows a model while it is quantized and shows each
// matrix the inputs that it gets from the quantized matrices before it. Of inputs it
// sums up squares (importance) and second moments (hessian), which it factorizes.
//
// It knows no methods and no recipes.
package calib
