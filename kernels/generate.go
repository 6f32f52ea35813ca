package kernels

//go:generate go -C _asm run . -set int -out ../matmul/int_amd64.s -stubs ../matmul/int_amd64.go -table ../matmul/inttable_amd64.go -pkg matmul
//go:generate go -C _asm run . -set amx -out ../matmul/amx_amd64.s -stubs ../matmul/amx_amd64.go -table ../matmul/amxtable_amd64.go -pkg matmul
//go:generate go -C _asm run . -set float -out ../matmul/float_amd64.s -stubs ../matmul/float_amd64.go -pkg matmul
//go:generate go -C _asm run . -set attention -out ../attention/attention_amd64.s -stubs ../attention/attention_amd64.go -pkg attention
//go:generate go -C _asm run . -set pack -out ../format/pack_amd64.s -stubs ../format/pack_amd64.go -pkg format
//go:generate go -C _asm run . -set round -out ../vector/round_amd64.s -stubs ../vector/round_amd64.go -pkg vector
//go:generate go -C _asm run . -set vector -out ../vector/vector_amd64.s -stubs ../vector/vector_amd64.go -pkg vector
//go:generate go -C _asm run . -set limits -out ../cpu/limits_amd64.s -stubs ../cpu/limits_amd64.go -pkg cpu
//go:generate go -C _asm run ./arm64 -set int -out ../matmul/int_arm64.s -stubs ../matmul/int_arm64.go -table ../matmul/inttable_arm64.go -pkg matmul
//go:generate go -C _asm run ./arm64 -set float -out ../matmul/float_arm64.s -stubs ../matmul/float_arm64.go -pkg matmul
//go:generate go -C _asm run ./arm64 -set attention -out ../attention/attention_arm64.s -stubs ../attention/attention_arm64.go -pkg attention
//go:generate go -C _asm run ./arm64 -set vector -out ../vector/vector_arm64.s -stubs ../vector/vector_arm64.go -pkg vector
//go:generate go -C _asm run ./arm64 -set limits -out ../cpu/limits_arm64.s -stubs ../cpu/limits_arm64.go -pkg cpu
