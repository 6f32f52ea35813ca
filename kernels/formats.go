package kernels

import (
	"fmt"
	"slices"
	"strings"
)

// Format is a row of the registry of storage formats: what sets a way to store
// matrices apart. Kernels are listed by its name.
type Format struct {
	Name   string // what the short forms of its schemes begin with
	Bits   int    // of a code
	Table  CodeTable
	Groups []int // columns that may share a scale; 0 is the whole row
	Zeros  bool  // there may be zero points
	Top    bool  // some rows may have twice the bits
	codes  codeLayout
}

var anyGroup = []int{0, 32, 64, 128}

// formats is the registry.
var formats = []Format{
	{Name: "w4", Bits: 4, Groups: anyGroup, Zeros: true, Top: true, codes: nibbleCodes},
	{Name: "w8", Bits: 8, Groups: anyGroup, Zeros: true, codes: byteCodes},
	{Name: "nl4", Bits: 4, Table: NL4, Groups: []int{32}, codes: nibbleCodes},
	{Name: "mxfp4", Bits: 4, Table: FP4, Groups: []int{32}, codes: nibbleCodes},
}

// find returns the scheme's format, nil if there is none.
func (s Scheme) find() *Format {
	for i := range formats {
		if f := &formats[i]; f.Bits == s.Bits && f.Table == s.Table {
			return f
		}
	}
	return nil
}

// Format returns the format of a valid scheme.
func (s Scheme) Format() *Format { return s.find() }

// Validate reports whether nibble has the scheme.
func (s Scheme) Validate() error {
	f := s.find()
	if f == nil {
		var names []string
		for _, f := range formats {
			names = append(names, f.Name)
		}
		return fmt.Errorf("%w: codes of %d bits, table %d (there are: %s)", ErrScheme, s.Bits, s.Table, strings.Join(names, ", "))
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
		return fmt.Sprintf("w%d of table %d", s.Bits, s.Table)
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

// plainSchemes lists the schemes of which matrices consist: each valid one without
// Top, which is two matrices.
func plainSchemes() (all []Scheme) {
	for _, f := range formats {
		for _, group := range f.Groups {
			all = append(all, Scheme{Bits: f.Bits, Group: group, Sym: true, Table: f.Table})
			if f.Zeros {
				all = append(all, Scheme{Bits: f.Bits, Group: group, Table: f.Table})
			}
		}
	}
	return all
}
