package local

import (
	"runtime"
	"testing"
)

func TestEveryCollectionIsFollowed(t *testing.T) {
	collected := make(chan struct{}, 1)
	afterCollection(func() {
		select {
		case collected <- struct{}{}:
		default: // the test is over
		}
	})
	for range 3 {
		runtime.GC()
		<-collected
	}
}
