package arch

// Linear is one matrix of a model, outputs x inputs, as everything but the file
// format sees it.
type Linear struct {
	Path       string // names it in recipes and quantized files: "model.layers.0.self_attn.q_proj"
	Role       Role
	Layer      int // -1 outside the blocks
	Expert     int // -1 for matrices that every token meets
	Rows, Cols int // outputs, inputs
	Bias       *Vector
	Keep       bool   // stays in floating point: too small to matter or too delicate
	Input      string // matrices with the same Input read the same activations
	View       View
}

// Role says what a matrix is for. Matrices of one role play the same part in
// every block and every family.
type Role string

// The roles.
const (
	RoleEmbed  Role = "embed"
	RoleHead   Role = "head"
	RoleEnds   Role = "ends" // between the stream and an embedding or head of another width
	RoleQ      Role = "q"
	RoleK      Role = "k"
	RoleV      Role = "v"
	RoleQKV    Role = "qkv" // queries, keys and values in one matrix
	RoleO      Role = "o"
	RoleGate   Role = "gate"
	RoleUp     Role = "up"
	RoleGateUp Role = "gate_up" // both in one matrix
	RoleDown   Role = "down"

	RoleRouter     Role = "router"      // chooses experts
	RoleSharedGate Role = "shared_gate" // weighs the shared expert

	RoleQA  Role = "q_a" // latent attention: down to the rank of queries,
	RoleQB  Role = "q_b" // up to the heads,
	RoleKVA Role = "kv_a"
	RoleKVB Role = "kv_b"

	RoleIn  Role = "in"  // what enters a recurrent step
	RoleZ   Role = "z"   // its gate
	RoleA   Role = "a"   // its decay
	RoleB   Role = "b"   // its rate
	RoleOut Role = "out" // what leaves it

	RolePerLayerTable      Role = "per_layer_embed"
	RolePerLayerProjection Role = "per_layer_proj"
	RolePerLayerGate       Role = "per_layer_gate"
	RolePerLayerOut        Role = "per_layer_out"
)

// View says where the elements of a matrix or vector lie in a stored tensor. The
// tensor, or with an Expert of it the slice of its first dimension, is a matrix
// (a vector is one of a single column); Transposed swaps its sides. Of its rows,
// First, First+Step, First+2*Step and so on are the view's.
type View struct {
	Tensor     string
	Expert     int // -1: the tensor is not a stack of experts
	Transposed bool
	First      int
	Step       int // 0 means 1
}

// Vector is any tensor that is not multiplied as a matrix: weights of norms,
// biases, tables.
type Vector struct {
	View
	Len  int
	Dims []int // of the stored tensor, where that is no list of Len elements

	Parts []string // tensors of equal size that it is in, one after the other, under the view's name; nil: it is one tensor
}

// whole is the view of a tensor that holds nothing else.
func whole(tensor string) View { return View{Tensor: tensor, Expert: -1} }

// vector names a tensor of n elements.
func vector(tensor string, n int) *Vector { return &Vector{View: whole(tensor), Len: n} }

// table names a tensor of several dimensions.
func table(tensor string, dims ...int) *Vector {
	v := &Vector{View: whole(tensor), Len: 1, Dims: dims}
	for _, d := range dims {
		v.Len *= d
	}
	return v
}
