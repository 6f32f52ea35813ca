// Package quanttest has engines, models and weights for the tests of quant.
package quanttest
