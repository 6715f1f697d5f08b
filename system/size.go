package system

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"k8s.io/apimachinery/pkg/api/resource"
)

// sizes are the functions that read sizes: quantity("4Gi") as Kubernetes writes them, jvmSize("12g") as a JVM does,
// where g is 1024 times 1024 times 1024. Both give bytes.
func sizes() []cel.EnvOption {
	return []cel.EnvOption{reader("quantity", readQuantity), reader("jvmSize", readJVMSize)}
}

func reader(name string, read func(string) (int64, error)) cel.EnvOption {
	return cel.Function(name, cel.Overload(name+"_string", []*cel.Type{cel.StringType}, cel.IntType, cel.UnaryBinding(func(v ref.Val) ref.Val {
		text, ok := v.(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(v)
		}
		n, err := read(string(text))
		if err != nil {
			return types.WrapErr(err)
		}
		return types.Int(n)
	})))
}

func readQuantity(text string) (int64, error) {
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size like 4Gi", text)
	}
	if n, exact := q.AsInt64(); exact && n >= 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%q is not a size of whole bytes", text)
}

var jvmSizePattern = regexp.MustCompile(`^([0-9]{1,18})([kKmMgGtT]?)$`)

func readJVMSize(text string) (int64, error) {
	m := jvmSizePattern.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is not a size like 12g", text)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size like 12g", text)
	}
	shift := map[string]int{"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[strings.ToLower(m[2])]
	if n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is too large", text)
	}
	return n << shift, nil
}
