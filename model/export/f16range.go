package export

import (
	"fmt"
	"math"

	"nibble/kernels"
	"nibble/model"
	"nibble/model/gguf"
)

// checkRange refuses a type whose F16 values do not hold a matrix. Of float weights
// it looks at some of the rows; what it misses ends the writing.
func checkRange(ck *model.Checkpoint, m model.Module, w model.Weight, t gguf.Type) error {
	switch {
	case w.Q != nil && t == gguf.Q4_1 && !w.Q.Scheme.Mins:
		for i, s := range w.Q.Scales {
			zero := uint8(w.Q.Scheme.MidCode())
			if w.Q.Zeros != nil {
				zero = w.Q.Zeros[i]
			}
			if low, _ := gguf.ExactMin(zero, s); low&0x7fff == 0x7c00 {
				return fmt.Errorf("%s: a minimum of its groups is beyond F16, which %s stores: choose --type q8_0 or f32", m.Name, t)
			}
		}
	case w.Q == nil && t == gguf.F16 && w.Float.DType != kernels.F16:
		// F16 holds what is smaller with fewer bits than BF16 has.
		const least, most, share = 1.0 / (1 << 17), 65504, 0.02
		magnitudes, err := ck.Magnitudes(m)
		if err != nil {
			return err
		}
		rows, small := 0, 0
		for _, v := range magnitudes {
			switch {
			case v == 0 || math.IsInf(float64(v), 0): // an infinity has an error of its own
				continue
			case v > most:
				return fmt.Errorf("%s: %w: a weight of %g is beyond F16: choose --type auto or f32", m.Name, gguf.ErrLayout, v)
			case v < least:
				small++
			}
			rows++
		}
		if float64(small) > share*float64(rows) {
			return fmt.Errorf("%s: its weights are too small for F16, which would lose them: choose --type auto or f32", m.Name)
		}
	}
	return nil
}
