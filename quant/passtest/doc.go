// Package passtest has recipes, calibrations and a sink for the tests of quant.
package passtest
