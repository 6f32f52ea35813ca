package kernels

import (
	"nibble/kernels/attention"
	"nibble/kernels/cpu"
	"nibble/kernels/format"
	"nibble/kernels/matmul"
	"nibble/kernels/memory"
	"nibble/kernels/number"
	"nibble/kernels/selector"
	"nibble/kernels/vector"
)

// What callers name of the packages below, so that they need to know this one alone.
type (
	// ISA is an instruction-set tier, CPU a description of the machine.
	ISA = cpu.ISA
	CPU = cpu.CPU

	// DType is the storage type of floats.
	DType = number.DType

	// Arena is memory of matrices and caches.
	Arena = memory.Arena

	// QTensor is a quantized matrix as it is stored, Scheme says how, CodeTable what
	// codes stand for.
	QTensor   = format.QTensor
	Scheme    = format.Scheme
	CodeTable = format.CodeTable

	// Matrix is a float32 matrix; RoundSums and Grid are of rounding to codes.
	Matrix    = vector.Matrix
	RoundSums = vector.RoundSums
	Grid      = vector.Grid

	// Linear is a prepared matrix, Acts a batch of activations, Product what becomes of
	// both.
	Linear  = matmul.Linear
	Acts    = matmul.Acts
	Product = matmul.Product

	// KVCache holds keys and values; AttentionRule is how scores become weights.
	KVCache           = attention.KVCache
	AttentionRule     = attention.AttentionRule
	AttentionGradient = attention.AttentionGradient

	// What the selection of kernels is about and what it reports.
	Shape         = selector.Shape
	Choice        = selector.Choice
	Measurement   = selector.Measurement
	Table         = selector.Table
	Limits        = selector.Limits
	SelectOptions = selector.SelectOptions
	Listener      = selector.Listener
	Event         = selector.Event
	SelectStarted = selector.SelectStarted
	ShapeMeasured = selector.ShapeMeasured
	Unkept        = selector.Unkept
)

// The storage types of floats.
const (
	F32  = number.F32
	F16  = number.F16
	BF16 = number.BF16
)

// The code tables.
const (
	Even = format.Even
	NL4  = format.NL4
	FP4  = format.FP4
)

// The tiers, from the slowest to the fastest.
const (
	Generic    = cpu.Generic
	AVX2       = cpu.AVX2
	AVXVNNI    = cpu.AVXVNNI
	AVX512VNNI = cpu.AVX512VNNI
	AMX        = cpu.AMX
	NEON       = cpu.NEON
	DotProd    = cpu.DotProd
	I8MM       = cpu.I8MM
)

// Errors of the packages below.
var (
	ErrISA    = cpu.ErrISA
	ErrScheme = format.ErrScheme
	ErrWrong  = matmul.ErrWrong
)

// Supported lists the tiers this CPU and this build have, in ascending order.
func Supported() []ISA { return cpu.Supported() }

// ThisCPU describes the CPU the program runs on.
func ThisCPU() CPU { return cpu.This() }

// F16ToF32 converts IEEE 754 binary16 bits to their exact float32 value.
func F16ToF32(h uint16) float32 { return number.F16ToF32(h) }

// F32ToF16 converts to binary16, rounding to nearest, ties to even.
func F32ToF16(f float32) uint16 { return number.F32ToF16(f) }

// BF16ToF32 converts bfloat16 bits to their exact float32 value.
func BF16ToF32(h uint16) float32 { return number.BF16ToF32(h) }

// F32ToBF16 converts to bfloat16, rounding to nearest, ties to even.
func F32ToBF16(f float32) uint16 { return number.F32ToBF16(f) }

// DecodeFloats converts little-endian elements of a storage type to float32.
func DecodeFloats(dst []float32, src []byte, dt DType) { number.DecodeFloats(dst, src, dt) }

// EncodeFloats is the reverse of DecodeFloats.
func EncodeFloats(dst []byte, src []float32, dt DType) { number.EncodeFloats(dst, src, dt) }

// RoundFloats rounds x to values that a storage type holds.
func RoundFloats(x []float32, dt DType) { number.RoundFloats(x, dt) }

// NewArena returns an arena of at least n bytes.
func NewArena(n int64) *Arena { return memory.NewArena(n) }

// NewQTensor allocates a rows x cols tensor of zero codes.
func NewQTensor(rows, cols int, s Scheme) (*QTensor, error) { return format.NewQTensor(rows, cols, s) }

// PackedBytes returns the memory of a quantized matrix once it is packed.
func PackedBytes(rows, cols int, s Scheme) int64 { return format.PackedBytes(rows, cols, s) }

// TopScale returns the scale of the further four bits, as F16 bits.
func TopScale(scale uint16) uint16 { return format.TopScale(scale) }

// NewMatrix returns a matrix of zeros without gaps.
func NewMatrix(rows, cols int) Matrix { return vector.NewMatrix(rows, cols) }

// Dot returns the inner product of a and b, which have the same length.
func Dot(a, b []float32) float32 { return vector.Dot(a, b) }

// NewFloatLinear wraps row-major little-endian weights without copying them.
func NewFloatLinear(n, k int, dt DType, data []byte) (*Linear, error) {
	return matmul.NewFloatLinear(n, k, dt, data)
}

// NewMatrixLinear wraps float32 weights without copying them.
func NewMatrixLinear(m Matrix) (*Linear, error) { return matmul.NewMatrixLinear(m) }

// NewQuantLinear packs a quantized tensor for the kernels. The tensor is not kept.
func NewQuantLinear(q *QTensor) (*Linear, error) { return matmul.NewQuantLinear(q) }

// NewQuantLinearIn is NewQuantLinear with PackedBytes of an arena's memory.
func NewQuantLinearIn(a *Arena, q *QTensor) (*Linear, error) { return matmul.NewQuantLinearIn(a, q) }

// NewKVCache returns an empty cache for a number of key heads of dim elements.
func NewKVCache(heads, dim int, dt DType) (*KVCache, error) {
	return attention.NewKVCache(heads, dim, dt)
}

// MBuckets are the batch sizes that choices are made for.
func MBuckets() []int { return matmul.MBuckets() }

// BenchShapes lists products of common models.
func BenchShapes(threads int) []Shape { return selector.BenchShapes(threads) }
