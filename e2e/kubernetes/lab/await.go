//go:build linux

package lab

import (
	"context"
	"fmt"
	"time"
)

// await tries until there is no error. When ctx ends first, the error says
// what was awaited, why that ended, and the last try's error.
func await(ctx context.Context, what string, try func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last: %w", what, context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
