// Package work says what a search measures, as plain data, and measures it.
//
// Work names one measurement by hashes of all that its outcome depends on: whoever
// has the same model, text and calibration can do it and gets the same outcome. A
// Worker does work. Local, the one that there is, does it in this process, on the
// kernels that the model will run on.
package work
