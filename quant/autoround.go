package quant

import "context"

// AutoRound trains the roundings, scales and zero points of a layer by signed
// gradients against the float layer's outputs, from what GPTQ gives.
const AutoRound = "autoround"

var autoroundTraining = training{iterations: 200, batch: 2, rate: 1. / 200, share: 0.1}

func init() {
	register(&Method{
		Name: AutoRound, Strength: 70, Recipe: "q4-autoround", Stronger: AutoRoundBest, StandIn: GPTQ, Error: 0.5,
		Does:  "trains the roundings, scales and zero points of a layer, from what " + GPTQ + " gives",
		Needs: Needs{Inputs: 1, Floats: true},
		Fits:  fitsLayers,
		Cost: Cost{Seconds: gptqSeconds, Held: trainingBytes,
			Layer: func(r *Shape, layer int) float64 { return trainingSeconds(r, layer, autoroundTraining) }},
		Layer: func(ctx context.Context, p *pass, s Stage, ms []PlannedModule, step func(rows int)) ([]Quantized, error) {
			return trainLayer(ctx, p, s, ms, autoroundTraining, step)
		},
	})
}
