package system

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// memberFields are the names that m has beside the questions; no question may
// be called like one.
var memberFields = []string{"name", "component", "ordinal", "host", "bind", "data", "version", "port", "scheme", "tls"}

// memberValue is a Member as expressions see it: a map of its fields and its
// answers. It looks each key up when asked, so that a scope costs nothing to
// make and cannot go stale.
type memberValue Member

var _ traits.Mapper = (*memberValue)(nil)

// FindStringKey is what the interpreter calls for m.key.
func (v *memberValue) FindStringKey(key string) (any, bool) {
	switch key {
	case "name":
		return v.Name, true
	case "component":
		return v.Component, true
	case "ordinal":
		return int64(v.Ordinal), true
	case "host":
		return v.Host, true
	case "bind":
		return cmp.Or(v.Bind, v.Host), true
	case "data":
		return v.Data, true
	case "version":
		return v.Version, true
	case "port":
		return v.Port, true
	case "scheme":
		return v.schemes(), true
	case "tls":
		return v.TLS, true
	}
	answer, ok := v.Answers[key]
	return answer, ok
}

// schemes says for each port whether it speaks https.
func (v *memberValue) schemes() map[string]string {
	schemes := make(map[string]string, len(v.Port))
	for port := range v.Port {
		schemes[port] = "http"
	}
	for port := range v.TLS {
		schemes[port] = "https"
	}
	return schemes
}

func (v *memberValue) keys() []string {
	keys := slices.Clone(memberFields)
	for question := range v.Answers {
		keys = append(keys, question)
	}
	slices.Sort(keys)
	return keys
}

// The rest makes the value usable where an expression has the member itself in
// hand: "x == m", "has(m.health)", "'health' in m".

// Find implements traits.Mapper.
func (v *memberValue) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	value, ok := v.FindStringKey(string(name))
	if !ok {
		return nil, false
	}
	return types.DefaultTypeAdapter.NativeToValue(value), true
}

// Get implements traits.Indexer.
func (v *memberValue) Get(key ref.Val) ref.Val {
	if value, ok := v.Find(key); ok {
		return value
	}
	return types.NewErr("no such key: %v", key)
}

// Contains implements traits.Container.
func (v *memberValue) Contains(key ref.Val) ref.Val {
	_, ok := v.Find(key)
	return types.Bool(ok)
}

// Size implements traits.Sizer.
func (v *memberValue) Size() ref.Val { return types.Int(len(memberFields) + len(v.Answers)) }

// Iterator implements traits.Iterable.
func (v *memberValue) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, v.keys()).Iterator()
}

// Equal says whether both are the same member, by name.
func (v *memberValue) Equal(other ref.Val) ref.Val {
	o, ok := other.(*memberValue)
	return types.Bool(ok && o.Name == v.Name)
}

// ConvertToNative implements ref.Val; nothing needs it.
func (v *memberValue) ConvertToNative(desc reflect.Type) (any, error) {
	return nil, fmt.Errorf("a member is not a %v", desc)
}

// ConvertToType implements ref.Val; nothing needs it.
func (v *memberValue) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("a member is not a %s", t.TypeName())
}

// Type implements ref.Val.
func (v *memberValue) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (v *memberValue) Value() any { return v }
