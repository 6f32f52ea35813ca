package space

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"nibble/model"
)

const mixture = `{"architectures": ["Qwen2MoeForCausalLM"], "model_type": "qwen2_moe", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
	"intermediate_size": 64, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2, "decoder_sparse_step": 1,
	"mlp_only_layers": [], "vocab_size": 64, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "torch_dtype": "float32"}`

// random writes a model of a config with random weights.
func random(t *testing.T, config string) *model.Checkpoint {
	t.Helper()
	c, err := model.ParseConfig([]byte(config), nil)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	header, data := map[string]any{}, []byte(nil)
	for _, d := range c.Described() {
		n := 1
		for _, s := range d.Shape {
			n *= s
		}
		header[d.View.Tensor] = map[string]any{"dtype": "F32", "shape": d.Shape, "data_offsets": []int{len(data), len(data) + 4*n}}
		for range n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(rng.NormFloat64())/8))
		}
	}
	head, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...), data...)
	for name, content := range map[string][]byte{"config.json": []byte(config), "model.safetensors": file} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ck, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	return ck
}

// The experts of a layer share a choice for each role, which the shared expert does
// not; fused, their gates and ups share one as well.
func TestExpertsShareAChoice(t *testing.T) {
	ck := random(t, mixture)
	specs, err := Parse("w4 g32 sym gptq, w8 g32 sym rtn")
	if err != nil {
		t.Fatal(err)
	}
	for fused, layer := range map[bool]struct{ classes, together int }{
		false: {4 + 3 + 3, 3}, // q, k, v, o; the shared expert's; the experts'
		true:  {2 + 2 + 2, 2}, // q k v, o; the shared gate and up, down; gates and ups, downs
	} {
		classes, err := Classes(ck, specs, fused)
		if err != nil {
			t.Fatal(err)
		}
		if want := 2 + 2*layer.classes; len(classes) != want {
			t.Errorf("fused %v: %d classes, want %d", fused, len(classes), want)
		}
		together, matrices := 0, 0
		for _, c := range classes {
			matrices += len(c.Matrices)
			experts := 0
			for _, m := range c.Matrices {
				if m.Linear.Expert >= 0 {
					experts++
				}
			}
			if experts > 0 {
				together++
				if experts != len(c.Matrices) || experts%4 != 0 {
					t.Errorf("fused %v: %s shares a choice with %d matrices, %d of experts", fused, c.Matrices[0].Name, len(c.Matrices), experts)
				}
			}
			for _, o := range c.Options {
				sum := int64(0)
				for _, p := range o.Parts {
					sum += p.Bytes
				}
				if len(o.Parts) != len(c.Matrices) || sum != o.Bytes {
					t.Errorf("%s %s: %d bytes in %d parts, %d matrices take %d", c.Matrices[0].Name, o.Spec, sum, len(o.Parts), len(c.Matrices), o.Bytes)
				}
			}
		}
		if together != 2*layer.together || matrices != len(ck.Config.Modules()) {
			t.Errorf("fused %v: %d classes of experts, %d matrices", fused, together, matrices)
		}
	}
}
