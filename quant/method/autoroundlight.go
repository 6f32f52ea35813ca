package method

import (
	"context"

	"nibble/quant/cost"
	"nibble/quant/pass"
	"nibble/quant/train"
)

// AutoRoundLight is AutoRound with a quarter of the iterations.
const AutoRoundLight = "autoround-light"

// AutoRoundLightTraining is how its layers are trained.
var AutoRoundLightTraining = train.Training{Iterations: 50, Batch: 2, Rate: 1. / 50, Share: 0.1}

func init() {
	register(&pass.Method{
		Name: AutoRoundLight, Strength: 60, Stronger: AutoRound, StandIn: GPTQ, Error: 0.52,
		Does:  "is " + AutoRound + " with a quarter of the iterations",
		Needs: pass.Needs{Inputs: 1, Floats: true},
		Fits:  fitsLayers,
		Cost: pass.Cost{Seconds: gptqSeconds, Held: trainingBytes,
			Layer: func(r *cost.Shape, layer int) float64 { return trainingSeconds(r, layer, AutoRoundLightTraining) }},
		Layer: func(ctx context.Context, p *pass.Pass, s pass.Stage, ms []pass.PlannedModule, step func(rows int)) ([]pass.Quantized, error) {
			return trainLayer(ctx, p, s, ms, AutoRoundLightTraining, step)
		},
	})
}
