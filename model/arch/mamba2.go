package arch

import (
	"fmt"
	"math"
)

// mamba2 is a Mamba-2 layer under a name, of a width in heads, with biases of its
// matrices or without.
func (d *decoder) mamba2(l int, name string, width, heads int, bias bool) *SSM {
	c := d.c
	state, groups := c.DimOr(256, "mamba_d_state", "ssm_state_size"), c.DimOr(1, "mamba_n_groups", "n_groups")
	channels := width + 2*groups*state
	kernel := c.DimOr(4, "mamba_d_conv", "conv_kernel")
	if width%heads != 0 || heads%groups != 0 {
		c.fail(fmt.Errorf("%w: %d Mamba heads in %d groups do not divide a width of %d", ErrConfig, heads, groups, width))
		groups = 1
	}
	in := func(part string) string { return d.in(l, name+"."+part) }
	s := &SSM{
		In:     d.linear(l, name+".in_proj", RoleIn, width+channels+heads, d.hidden, bias),
		Out:    d.linear(l, name+".out_proj", RoleOut, d.hidden, width, bias),
		Conv:   table(in("conv1d.weight"), channels, 1, kernel),
		Kernel: kernel,
		ALog:   vector(in("A_log"), heads), D: vector(in("D"), heads), DtBias: vector(in("dt_bias"), heads),
		Norm:  d.norm(in("norm"), width),
		Heads: heads, HeadDim: width / heads, State: state, Groups: groups,
	}
	s.Norm.Width /= groups
	if limits := c.Floats("time_step_limit", "mamba_dt_limit"); len(limits) == 2 {
		s.DtMin, s.DtMax = float32(limits[0]), float32(min(limits[1], math.MaxFloat32))
	}
	if c.Bool(true, "mamba_conv_bias", "use_conv_bias") {
		s.ConvBias = vector(in("conv1d.bias"), channels)
	}
	return s
}
