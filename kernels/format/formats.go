package format

import (
	"fmt"
	"slices"
	"strings"

	"nibble/kernels/layout"
)

// Format is a row of the registry of storage formats: what sets a way to store
// matrices apart. Kernels are listed by its name.
type Format struct {
	layout.Format
	Table  CodeTable
	Groups []int // columns that may share a scale; 0 is the whole row
	Top    bool  // some rows may have twice the bits
	sub    int   // bits of a group's scale that another multiplies, where it is stored
	codes  codeLayout
}

// Formats is the registry: what layout.Formats has, and what only Go knows.
var Formats = func() []Format {
	anyGroup := []int{0, 32, 64, 128}
	rows := map[string]Format{
		"w4":     {Groups: anyGroup, Top: true, codes: nibbleCodes},
		"w8":     {Groups: anyGroup, codes: byteCodes},
		"nl4":    {Table: NL4, codes: nibbleCodes},
		"mxfp4":  {Table: FP4, codes: nibbleCodes},
		"q4_1":   {codes: nibbleCodes},
		"q5_0":   {codes: highCodes(5)},
		"q5_1":   {codes: highCodes(5)},
		"q4_k":   {sub: 6, codes: nibbleCodes},
		"q5_k":   {sub: 6, codes: highCodes(5)},
		"q6_k":   {sub: 8, codes: highCodes(6)},
		"iq4_xs": {Table: NL4, sub: 6, codes: nibbleCodes},
	}
	all := make([]Format, len(layout.Formats))
	for i, l := range layout.Formats {
		all[i] = rows[l.Name]
		all[i].Format = l
		if l.Group > 0 {
			all[i].Groups = []int{l.Group}
		}
	}
	return all
}()

// find returns the scheme's format, nil if there is none.
func (s Scheme) find() *Format {
	for i := range Formats {
		if f := &Formats[i]; f.Bits == s.Bits && f.Table == s.Table && f.Mins == s.Mins && (f.Scale == layout.SuperScale) == s.Super {
			return f
		}
	}
	return nil
}

// scheme is the scheme of a format with groups of a size.
func (f Format) scheme(group int, sym bool) Scheme {
	return Scheme{Bits: f.Bits, Group: group, Sym: sym, Table: f.Table, Mins: f.Mins, Super: f.Scale == layout.SuperScale}
}

// Format returns the format of a valid scheme.
func (s Scheme) Format() *Format { return s.find() }

// Validate reports whether nibble has the scheme.
func (s Scheme) Validate() error {
	f := s.find()
	if f == nil {
		var names []string
		for _, f := range Formats {
			names = append(names, f.Name)
		}
		return fmt.Errorf("%w: no format has codes of %d bits, table %d, least values: %v, scales of scales: %v (there are: %s)",
			ErrScheme, s.Bits, s.Table, s.Mins, s.Super, strings.Join(names, ", "))
	}
	switch {
	case !slices.Contains(f.Groups, s.Group):
		return fmt.Errorf("%w: %s has no groups of %d (it has: %s)", ErrScheme, f.Name, s.Group, groupNames(f.Groups))
	case !s.Sym && !f.Zeros:
		return fmt.Errorf("%w: %s has no zero points", ErrScheme, f.Name)
	case s.Top != 0 && (!f.Top || !s.Sym || s.Top < 1 || s.Top > 99):
		return fmt.Errorf("%w: 8 bits for %d %% of the rows (1 to 99, where the others have 4 bits and are symmetric)", ErrScheme, s.Top)
	}
	return nil
}

// groupNames lists sizes of groups for people.
func groupNames(groups []int) string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = groupName(g)
	}
	return strings.Join(names, ", ")
}

func groupName(group int) string {
	if group == 0 {
		return "channel"
	}
	return fmt.Sprintf("g%d", group)
}

// String returns the short form, such as "w4 g32 sym", "w8 channel asym",
// "w4 g32 sym top20%" or "nl4 g32".
func (s Scheme) String() string {
	f := s.find()
	if f == nil {
		return fmt.Sprintf("an unknown format of %d bits", s.Bits)
	}
	short := f.Name + " " + groupName(s.Group)
	if f.Zeros {
		short += map[bool]string{true: " sym", false: " asym"}[s.Sym]
	}
	if s.Top > 0 {
		short += fmt.Sprintf(" top%d%%", s.Top)
	}
	return short
}

// Plain lists the schemes of which matrices consist: each valid one without
// Top, which is two matrices.
func Plain() (all []Scheme) {
	for _, f := range Formats {
		for _, group := range f.Groups {
			all = append(all, f.scheme(group, true))
			if f.Zeros {
				all = append(all, f.scheme(group, false))
			}
		}
	}
	return all
}

// Parse reads the String form of a scheme.
func Parse(short string) (Scheme, error) {
	for _, s := range Plain() {
		if s.String() == short {
			return s, nil
		}
	}
	return Scheme{}, fmt.Errorf("%w: %q", ErrScheme, short)
}
