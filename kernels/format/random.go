package format

import "math/rand/v2"

// Random returns a tensor of random codes, scales of either sign, zero points and
// least values, to check and measure kernels on.
func Random(rng *rand.Rand, rows, cols int, s Scheme) (*QTensor, error) {
	q, err := NewQTensor(rows, cols, s)
	if err != nil {
		return nil, err
	}
	f := s.Format()
	if f.codes.bits == f.Bits && cols*f.Bits%32 == 0 { // random bytes are random codes
		for i := 0; i < len(q.Codes); i += 4 {
			word := rng.Uint32()
			q.Codes[i], q.Codes[i+1], q.Codes[i+2], q.Codes[i+3] = byte(word), byte(word>>8), byte(word>>16), byte(word>>24)
		}
	} else { // and the padding of ragged rows stays zero
		for r := range rows {
			for c := range cols {
				q.SetCode(r, c, uint8(rng.IntN(s.MaxCode()+1)))
			}
		}
	}
	for _, scales := range [][]uint16{q.Scales, q.Mins} {
		for i := range scales {
			scales[i] = 0x2000 + uint16(rng.Uint64())&0x83ff // F16: 2^-7 to 2^-6, either sign
		}
	}
	for _, subs := range [][]int8{q.SubScales, q.SubMins} {
		for i := range subs {
			subs[i] = int8(rng.Uint64())
		}
	}
	for i := range q.Zeros {
		q.Zeros[i] = uint8(rng.IntN(s.MaxCode() + 1))
	}
	return q, nil
}
