package quant

import "context"

// AutoRoundLight is AutoRound with a quarter of the iterations.
const AutoRoundLight = "autoround-light"

var lightTraining = training{iterations: 50, batch: 2, rate: 1. / 50, share: 0.1}

func init() {
	register(&Method{
		Name: AutoRoundLight, Strength: 60, Stronger: AutoRound, StandIn: GPTQ, Error: 0.52,
		Does:  "is " + AutoRound + " with a quarter of the iterations",
		Needs: Needs{Inputs: 1, Floats: true},
		Fits:  fitsLayers,
		Cost: Cost{Seconds: gptqSeconds, Held: trainingBytes,
			Layer: func(r *Shape, layer int) float64 { return trainingSeconds(r, layer, lightTraining) }},
		Layer: func(ctx context.Context, p *pass, s Stage, ms []PlannedModule, step func(rows int)) ([]Quantized, error) {
			return trainLayer(ctx, p, s, ms, lightTraining, step)
		},
	})
}
