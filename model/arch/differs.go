package arch

import (
	"fmt"
	"math"
	"reflect"
	"slices"
)

// Differs says what another description computes otherwise, "" if nothing: names and
// places of tensors apart, and whether matrices are fused. Numbers may differ by what
// a float32 rounds.
func (m *Model) Differs(other *Model) string {
	return differs(reflect.ValueOf(*m), reflect.ValueOf(*other), "")
}

// notComputed are fields that say where things are.
var notComputed = []string{"Family", "HeadPath", "HeadMissing", "Tensor", "Dims", "Parts", "Path", "Input", "View", "Keep", "Role", "Layer", "Expert", "Order", "Base"}

func differs(a, b reflect.Value, path string) string {
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() == b.IsNil() || a.Type() == reflect.TypeFor[*Linear]() {
				return ""
			}
			return path
		}
		if a.Elem().Type() != b.Elem().Type() {
			return path
		}
		return differs(a.Elem(), b.Elem(), path)
	case reflect.Struct:
		for i := range a.NumField() {
			if f := a.Type().Field(i); !slices.Contains(notComputed, f.Name) {
				if at := differs(a.Field(i), b.Field(i), path+"."+f.Name); at != "" {
					return at
				}
			}
		}
	case reflect.Slice:
		if a.Len() != b.Len() {
			return path
		}
		for i := range a.Len() {
			if at := differs(a.Index(i), b.Index(i), fmt.Sprintf("%s[%d]", path, i)); at != "" {
				return at
			}
		}
	case reflect.Float32, reflect.Float64:
		if x, y := a.Float(), b.Float(); !(math.Abs(x-y) <= 1e-5*math.Max(math.Abs(x), math.Abs(y))) && !(math.Abs(x) < 1e-25 && math.Abs(y) < 1e-25) {
			return path
		}
	default:
		if !a.Equal(b) {
			return path
		}
	}
	return ""
}
