package kernels

//go:generate go -C _asm run . -set int -out ../int_amd64.s -stubs ../int_amd64.go -table ../inttable_amd64.go -pkg kernels
//go:generate go -C _asm run . -set amx -out ../amx_amd64.s -stubs ../amx_amd64.go -table ../amxtable_amd64.go -pkg kernels
//go:generate go -C _asm run . -set float -out ../float_amd64.s -stubs ../float_amd64.go -pkg kernels
//go:generate go -C _asm run . -set attention -out ../attention_amd64.s -stubs ../attention_amd64.go -pkg kernels
//go:generate go -C _asm run . -set pack -out ../pack_amd64.s -stubs ../pack_amd64.go -pkg kernels
//go:generate go -C _asm run . -set round -out ../round_amd64.s -stubs ../round_amd64.go -pkg kernels
//go:generate go -C _asm run . -set vector -out ../vector_amd64.s -stubs ../vector_amd64.go -pkg kernels
//go:generate go -C _asm run . -set limits -out ../limits_amd64.s -stubs ../limits_amd64.go -pkg kernels
//go:generate go -C _asm run ./arm64 -set int -out ../int_arm64.s -stubs ../int_arm64.go -table ../inttable_arm64.go
//go:generate go -C _asm run ./arm64 -set float -out ../float_arm64.s -stubs ../float_arm64.go
//go:generate go -C _asm run ./arm64 -set attention -out ../attention_arm64.s -stubs ../attention_arm64.go
//go:generate go -C _asm run ./arm64 -set vector -out ../vector_arm64.s -stubs ../vector_arm64.go
//go:generate go -C _asm run ./arm64 -set limits -out ../limits_arm64.s -stubs ../limits_arm64.go
