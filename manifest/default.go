package manifest

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"theseus.dev/api/v1alpha1"
)

// defaultProgressDeadline is how long nothing may get better.
const defaultProgressDeadline = 10 * time.Minute

// DefaultCluster fills in what a Cluster leaves out and its System does not
// say, in place. The System's own defaults (replicas, options, soak) stay out:
// a Cluster that does not set them follows its System.
func DefaultCluster(c *v1alpha1.Cluster) {
	u := &c.Spec.Upgrade
	orElse(&u.OnFailure, v1alpha1.FailureRollsBack)
	orElse(&u.Finalize, v1alpha1.Automatic)
	orElse(&u.Edits, v1alpha1.EditsRefused)
	if u.MaxUnavailable == 0 {
		u.MaxUnavailable = 1
	}
	if u.ProgressDeadline == nil {
		u.ProgressDeadline = &metav1.Duration{Duration: defaultProgressDeadline}
	}
	if b := c.Spec.Backup; b != nil && b.Secret != nil {
		orElse(&b.Secret.Key, "key.json")
	}
}

func orElse[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}
