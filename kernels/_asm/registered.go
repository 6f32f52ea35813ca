package main

import (
	"os"
	"strings"

	"nibble/kernels/_asm/table"
)

// mulSignature is that of every tile.
var mulSignature = "func(" + strings.Join(table.MulParams, ", ") + ")"

// What the generated tables list.
var (
	tiles     []table.Tile
	unpackers []table.Unpacker
)

func registerTile(function string, f format, isa tier, rows, tokens int) {
	tiles = append(tiles, table.Tile{Function: function, Format: f.Name, Zeros: f.WithZeros, ISA: isa.name(), Rows: rows, Tokens: tokens})
}

// writeTable lists what was generated.
func writeTable(path, pkg string) error {
	text := table.File("go run main.go "+strings.Join(os.Args[1:], " "), "amd64 && !noasm", pkg)
	if tiles != nil {
		text += table.Tiles(tiles)
	}
	if unpackers != nil {
		text += table.Unpackers(unpackers)
	}
	return table.Write(path, text)
}
