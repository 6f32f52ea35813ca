package recipe

// Named lists the recipes that have names: those of formats, with those named for
// methods between.
func Named() []Recipe {
	all := [][2]string{
		{"q4", "w4 g32 sym mse"},
		{"q4-small", "w4 g128 sym mse; embed_tokens w8 g128 sym mse"},
		{"q4-asym", "w4 g32 asym mse"},
	}
	for _, m := range methods {
		if m.recipe != "" {
			all = append(all, [2]string{m.recipe, "w4 g32 sym " + m.name})
		}
	}
	all = append(all, [2]string{"q8", "w8 g32 sym rtn"})
	var out []Recipe
	for _, named := range all {
		r, err := parseShort(named[1])
		if err != nil {
			panic(err) // the methods that it names are part of the program
		}
		r.Name, r.named = named[0], true
		out = append(out, r)
	}
	return out
}

// Default is used when none is given.
func Default() Recipe { return Named()[0] }
