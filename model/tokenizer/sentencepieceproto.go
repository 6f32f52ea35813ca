package tokenizer

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// sentencePieceModel is what a tokenizer.model says
// (https://github.com/google/sentencepiece, sentencepiece_model.proto).
type sentencePieceModel struct {
	pieces       []sentencePiece // by id
	kind         uint64          // of the algorithm
	byteFallback bool
	suffix       bool // spaces go with the word before
	unknownText  string
	bos, eos     int64
	pad          int64

	charsmap                             []byte
	addPrefix, trimSpaces, visibleSpaces bool
}

// sentencePiece is a piece with its score and its kind.
type sentencePiece struct {
	text  string
	score float32
	kind  uint64
}

// SentencePiece's numbers of algorithms and of kinds of pieces.
const (
	spUnigram = 1
	spBPE     = 2

	spNormal      = 1
	spUnknown     = 2
	spControl     = 3
	spUserDefined = 4
	spUnused      = 5
	spByte        = 6
)

// protoField is a field of a message: a number or bytes.
type protoField struct {
	number protowire.Number
	value  uint64
	bytes  []byte
}

// protoFields calls a function with every field of a message.
func protoFields(data []byte, each func(protoField) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		f := protoField{number: number}
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(data)
			f.value = uint64(v)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := each(f); err != nil {
			return err
		}
	}
	return nil
}

func parseSentencePiece(data []byte) (*sentencePieceModel, error) {
	m := &sentencePieceModel{kind: spUnigram, unknownText: " \u2047 ", bos: 1, eos: 2, pad: -1, addPrefix: true, trimSpaces: true, visibleSpaces: true}
	err := protoFields(data, func(f protoField) error {
		switch f.number {
		case 1:
			return m.addPiece(f.bytes)
		case 2:
			return protoFields(f.bytes, m.trainer)
		case 3:
			return protoFields(f.bytes, m.normalizer)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if len(m.pieces) == 0 || len(m.pieces) > maxID {
		return nil, fmt.Errorf("%w: %d pieces", ErrCorrupt, len(m.pieces))
	}
	return m, nil
}

func (m *sentencePieceModel) addPiece(data []byte) error {
	p := sentencePiece{kind: spNormal}
	err := protoFields(data, func(f protoField) error {
		switch f.number {
		case 1:
			p.text = string(f.bytes)
		case 2:
			p.score = math.Float32frombits(uint32(f.value))
		case 3:
			p.kind = f.value
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s := float64(p.score); p.text == "" || math.IsNaN(s) || math.IsInf(s, 0) {
		return fmt.Errorf("piece %d is %q with the score %g", len(m.pieces), p.text, s)
	}
	m.pieces = append(m.pieces, p)
	return nil
}

// trainer reads how the pieces were learned.
func (m *sentencePieceModel) trainer(f protoField) error {
	switch f.number {
	case 3:
		m.kind = f.value
	case 24:
		m.suffix = f.value != 0
	case 35:
		m.byteFallback = f.value != 0
	case 41:
		m.bos = int64(int32(f.value))
	case 42:
		m.eos = int64(int32(f.value))
	case 43:
		m.pad = int64(int32(f.value))
	case 44:
		m.unknownText = string(f.bytes)
	}
	return nil
}

// normalizer reads how texts are normalized.
func (m *sentencePieceModel) normalizer(f protoField) error {
	switch f.number {
	case 2:
		m.charsmap = f.bytes
	case 3:
		m.addPrefix = f.value != 0
	case 4:
		m.trimSpaces = f.value != 0
	case 5:
		m.visibleSpaces = f.value != 0
	}
	return nil
}
