// Package recipe is the language of recipes: how each matrix of a model is stored, by
// rules for its name. A recipe is a name, a short form such as "w4 g128 sym mse;
// *.down_proj w8", or a recipe.json.
//
// Methods are words here, which package method adds; what they do is not known. The
// package imports the model's description, the kernels' formats and package grid's
// range of scales, and nothing else of quant.
package recipe
