package method

import (
	"nibble/model"
	"nibble/quant/calib"
)

// fitsInputs is Method.Fits of methods that measure the inputs of a matrix.
func fitsInputs(m model.Module, _ bool) (instead, why string) {
	if calib.InputOf(m) == "" {
		return MSE, "needs inputs that are multiplied; the scales were searched instead"
	}
	return "", ""
}

// fitsLayers is Method.Fits of methods that take a layer as a whole.
func fitsLayers(m model.Module, whole bool) (instead, why string) {
	if instead, why = fitsInputs(m, whole); instead == "" && m.Layer < 0 {
		return GPTQ, "needs a whole layer; " + GPTQ + " was used instead"
	}
	return instead, why
}
