package kubernetes

import (
	"fmt"
	"os"
)

// skip says loudly that nothing was tested, and why. Where CI=true that is a
// failure: nobody reads what passes there.
func skip(why error) (code int) {
	fmt.Fprintf(os.Stderr, "\n*** NOTHING WAS TESTED against Kubernetes: %v ***\n\n", why)
	if os.Getenv("CI") == "true" {
		return 1
	}
	return 0
}
