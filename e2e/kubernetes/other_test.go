//go:build !linux

package kubernetes

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

func TestMain(*testing.M) {
	os.Exit(skip(fmt.Errorf("it needs Linux, and this is %s", runtime.GOOS)))
}
