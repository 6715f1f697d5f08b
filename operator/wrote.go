package operator

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"theseus.dev/api/v1alpha1"
	"theseus.dev/system"
)

// Volumes outlive their Cluster, and its file often says the version at which it was made, not the one that it was upgraded to. So each claim says which
// version wrote to it last, and a Cluster that finds such claims begins with that: an older version is refused before it starts on them.

// wroteAnnotation of a claim is the version that may have written to the volume last.
const wroteAnnotation = "theseus.dev/wrote"

// LastWrote is the latest version that may have written to the volumes, as far as a status says; empty where nothing was started yet.
func LastWrote(st *v1alpha1.ClusterStatus) string {
	if a := st.Attempt; a != nil && !a.Phase.Ended() {
		switch {
		case a.Base != nil && a.Disrupted:
			return a.Hops[a.Hop].To // on the way back too, until all are back
		case len(a.Wrote) > 0:
			return a.Wrote[len(a.Wrote)-1]
		}
	}
	if st.Applied == nil {
		return ""
	}
	return st.Applied.Spec.Version
}

// noteWrote marks the claims of a Cluster after a pass, where that is another version than they were marked with. What fails is done by the next pass:
// it is for a Cluster that is made anew some day, and holds nobody up.
func (d *driver) noteWrote(ctx context.Context, st *v1alpha1.ClusterStatus) {
	version := LastWrote(st)
	now := version
	if a := st.Attempt; a != nil { // which may make claims anew: all are looked at again behind it
		now = fmt.Sprintf("%s %d %t", version, a.ID, a.Phase.Ended())
	}
	if version == "" || now == d.wrote {
		return
	}
	claims, err := claimsOf(ctx, d.platform.Live, d.platform.Key)
	for i := range claims {
		if err == nil && claims[i].DeletionTimestamp == nil && claims[i].Annotations[wroteAnnotation] != version {
			marked := claims[i].DeepCopy()
			marked.Annotations = merged(marked.Annotations, map[string]string{wroteAnnotation: version})
			err = client.IgnoreNotFound(d.platform.API.Patch(ctx, marked, client.MergeFrom(&claims[i])))
		}
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "note on the claims which version wrote to them", "version", version)
		return
	}
	d.wrote = now
}

// foundWritten has a Cluster that is about to begin know which version wrote to the volumes that are there for it.
func (d *driver) foundWritten(ctx context.Context, api client.Client, c *v1alpha1.Cluster) error {
	if !fresh(c) {
		return nil
	}
	if c.Status.Filled != "" {
		claims, err := claimsOf(ctx, d.platform.Live, d.platform.Key)
		if err != nil || len(claims) > 0 {
			return err
		}
		c.Status.Filled = "" // somebody deleted the volumes of which that was said
		return api.Status().Update(ctx, c)
	}
	sys, err := d.library.Known(ctx, c.Spec.System)
	if err != nil {
		return nil //nolint:nilerr // the pass says it
	}
	found, err := d.library.Wrote(ctx, sys)
	if err != nil || found == "" {
		return err
	}
	c.Status.Filled = found
	return api.Status().Update(ctx, c)
}

// Wrote is the latest version that may have written to volumes which are there for a Cluster that is about to begin; empty where there are none, or
// nobody knows of those that are.
func (l *Library) Wrote(ctx context.Context, sys *system.System) (string, error) {
	claims, err := claimsOf(ctx, l.Live, l.Cluster)
	if err != nil {
		return "", err
	}
	found := ""
	for i := range claims {
		if v := claims[i].Annotations[wroteAnnotation]; v != "" && claims[i].DeletionTimestamp == nil && sys.Compare(v, found) > 0 {
			found = v
		}
	}
	return found, nil
}

// claimsOf are those of a Cluster's own members, also those that are being deleted.
func claimsOf(ctx context.Context, live client.Reader, cluster types.NamespacedName) ([]corev1.PersistentVolumeClaim, error) {
	list := &corev1.PersistentVolumeClaimList{}
	if err := live.List(ctx, list, client.InNamespace(cluster.Namespace), OfCluster(cluster.Name)); err != nil {
		return nil, fmt.Errorf("list claims: %w", err)
	}
	return list.Items, nil
}
