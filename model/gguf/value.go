package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// KV is one key of the header with its value: a uint8, int8, uint16, int16,
// uint32, int32, uint64, int64, float32, float64, bool, string, or a slice of one
// of these.
type KV struct {
	Key   string
	Value any
}

// The numbers of the value types in a file.
const (
	typeUint8 uint32 = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// appendValue writes the type's number and the value.
func appendValue(b []byte, v any) ([]byte, error) {
	le := binary.LittleEndian
	switch v := v.(type) {
	case uint8:
		return append(le.AppendUint32(b, typeUint8), v), nil
	case int8:
		return append(le.AppendUint32(b, typeInt8), byte(v)), nil
	case uint16:
		return le.AppendUint16(le.AppendUint32(b, typeUint16), v), nil
	case int16:
		return le.AppendUint16(le.AppendUint32(b, typeInt16), uint16(v)), nil
	case uint32:
		return le.AppendUint32(le.AppendUint32(b, typeUint32), v), nil
	case int32:
		return le.AppendUint32(le.AppendUint32(b, typeInt32), uint32(v)), nil
	case float32:
		return le.AppendUint32(le.AppendUint32(b, typeFloat32), math.Float32bits(v)), nil
	case bool:
		return append(le.AppendUint32(b, typeBool), boolByte(v)), nil
	case string:
		return appendString(le.AppendUint32(b, typeString), v), nil
	case uint64:
		return le.AppendUint64(le.AppendUint32(b, typeUint64), v), nil
	case int64:
		return le.AppendUint64(le.AppendUint32(b, typeInt64), uint64(v)), nil
	case float64:
		return le.AppendUint64(le.AppendUint32(b, typeFloat64), math.Float64bits(v)), nil
	case []uint8:
		return appendArray(b, typeUint8, v, func(b []byte, e uint8) []byte { return append(b, e) }), nil
	case []int8:
		return appendArray(b, typeInt8, v, func(b []byte, e int8) []byte { return append(b, byte(e)) }), nil
	case []uint16:
		return appendArray(b, typeUint16, v, le.AppendUint16), nil
	case []int16:
		return appendArray(b, typeInt16, v, func(b []byte, e int16) []byte { return le.AppendUint16(b, uint16(e)) }), nil
	case []uint32:
		return appendArray(b, typeUint32, v, le.AppendUint32), nil
	case []int32:
		return appendArray(b, typeInt32, v, func(b []byte, e int32) []byte { return le.AppendUint32(b, uint32(e)) }), nil
	case []float32:
		return appendArray(b, typeFloat32, v, func(b []byte, e float32) []byte { return le.AppendUint32(b, math.Float32bits(e)) }), nil
	case []bool:
		return appendArray(b, typeBool, v, func(b []byte, e bool) []byte { return append(b, boolByte(e)) }), nil
	case []string:
		return appendArray(b, typeString, v, appendString), nil
	case []uint64:
		return appendArray(b, typeUint64, v, le.AppendUint64), nil
	case []int64:
		return appendArray(b, typeInt64, v, func(b []byte, e int64) []byte { return le.AppendUint64(b, uint64(e)) }), nil
	case []float64:
		return appendArray(b, typeFloat64, v, func(b []byte, e float64) []byte { return le.AppendUint64(b, math.Float64bits(e)) }), nil
	}
	return nil, fmt.Errorf("%w: a value of Go type %T", ErrLayout, v)
}

func appendArray[E any](b []byte, kind uint32, list []E, add func([]byte, E) []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, typeArray)
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(list)))
	for _, e := range list {
		b = add(b, e)
	}
	return b
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}
