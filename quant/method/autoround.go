package method

import (
	"context"

	"nibble/quant/cost"
	"nibble/quant/pass"
	"nibble/quant/train"
)

// AutoRound trains the roundings, scales and zero points of a layer by signed
// gradients against the float layer's outputs, from what GPTQ gives.
const AutoRound = "autoround"

// AutoRoundTraining is how its layers are trained.
var AutoRoundTraining = train.Training{Iterations: 200, Batch: 2, Rate: 1. / 200, Share: 0.1}

func init() {
	register(&pass.Method{
		Name: AutoRound, Strength: 70, Recipe: "q4-autoround", Stronger: AutoRoundBest, StandIn: GPTQ, Error: 0.5,
		Does:  "trains the roundings, scales and zero points of a layer, from what " + GPTQ + " gives",
		Needs: pass.Needs{Inputs: 1, Floats: true},
		Fits:  fitsLayers,
		Cost: pass.Cost{Seconds: gptqSeconds, Held: trainingBytes,
			Layer: func(r *cost.Shape, layer int) float64 { return trainingSeconds(r, layer, AutoRoundTraining) }},
		Layer: func(ctx context.Context, p *pass.Pass, s pass.Stage, ms []pass.PlannedModule, step func(rows int)) ([]pass.Quantized, error) {
			return trainLayer(ctx, p, s, ms, AutoRoundTraining, step)
		},
	})
}
