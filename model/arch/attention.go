package arch

// Attention is softmax attention with grouped queries. Its keys and values are
// kept for later tokens.
type Attention struct {
	Q, K, V *Linear // nil where Fused has them, or another layer's are used
	Fused   *Linear // queries, keys and values in the order of Order
	Order   FusedOrder
	O       *Linear

	Heads, KVHeads int
	HeadDim        int

	QNorm, KNorm, VNorm *Norm   // after the projection; nil for none
	NormAfterRope       bool    // QNorm and KNorm follow the rotation; otherwise they precede it
	ValuesFromKeys      bool    // values are the projected keys, before their norm
	Clip                float32 // queries, keys and values are kept within +-Clip; 0 for none
	ClipAfterNorm       bool    // Clip follows the norms; otherwise it precedes them
	Gated               bool    // Q gives a query and a gate for each head; what attention gives is multiplied by the gate's sigmoid

	Rope        *Rope     // nil for none
	Slopes      []float32 // ALiBi: of each head, scores fall by distance (Press et al., 2021); nil for none
	Temperature *Temperature
	Scale       float32 // of the scores
	SoftCap     float32 // scores become cap*tanh(score/cap); 0 for none
	Window      int     // positions a token sees, itself among them; 0 for all before it
	Sinks       *Vector // of each head, a logit that joins the softmax and is dropped; nil for none
	KVFrom      int     // the block whose keys and values are used; -1 for its own
}

// FusedOrder is how the rows of a fused matrix of queries, keys and values lie.
type FusedOrder int

// The orders.
const (
	QThenKThenV FusedOrder = iota // all queries, all keys, all values
	GroupByKV                     // for each key-value head: its queries, its key, its value
)

// Rope turns pairs of elements of queries and keys by angles that grow with the
// position (Su et al., 2021).
type Rope struct {
	Base        float64   // what frequencies are powers of, before they were scaled
	Frequencies []float64 // radians by position, of each pair; half as many as elements that turn, which are a head's first
	Long        []float64 // instead, in contexts of more than LongFrom positions; nil for none
	LongFrom    int
	Magnitude   float32 // of the turned elements; 1 for none
	Adjacent    bool    // pairs are (0,1), (2,3), ...; otherwise (i, i + len(Frequencies))
}

// Temperature multiplies a query by 1 + Beta*ln(1 + floor(position/Original))
// after its rotation (Llama 4, Ministral 3).
type Temperature struct {
	Beta     float32
	Original int
}

// LatentAttention keeps keys and values as a low-rank vector that all heads share
// (DeepSeek-V2, 2024). A head has Nope elements without and Rope elements with
// rotation; the rotated part of the key is shared by all heads.
type LatentAttention struct {
	Q        *Linear // nil with QA and QB
	QA, QB   *Linear
	QANorm   *Norm
	KVA      *Linear // to Rank + RopeDim
	KVANorm  *Norm
	KVB      *Linear // for each head: NopeDim of a key, ValueDim of a value
	O        *Linear
	Heads    int
	Rank     int
	NopeDim  int
	RopeDim  int
	ValueDim int
	Rope     *Rope
	Scale    float32
}
