//go:build linux

package lab

import (
	"context"
	"errors"
	"log"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

const (
	// StorageClass is the default one of a lab. Its volumes are folders of the
	// machine, which every node reaches, as it would a network's storage.
	StorageClass = "lab"

	provisioner = "theseus.dev/lab"
)

// beginStorage makes the class, and from then on gives each claim of it a
// volume, and removes the volumes that were released.
func (s *supervisor) beginStorage(ctx context.Context) error {
	_, err := s.client.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: StorageClass, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: provisioner,
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	go s.provision()
	return nil
}

// provision looks at all claims and volumes whenever one of them has changed,
// and every few seconds in case something did not work.
func (s *supervisor) provision() {
	factory := informers.NewSharedInformerFactory(s.client, 5*time.Second)
	claims, volumes := factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes()
	changed := make(chan struct{}, 1)
	for _, i := range []cache.SharedIndexInformer{claims.Informer(), volumes.Informer()} {
		_, _ = i.AddEventHandler(signal(changed)) // only fails on one that is stopped
	}
	factory.Start(s.ctx.Done())
	factory.WaitForCacheSync(s.ctx.Done())
	for range changed {
		all, _ := claims.Lister().List(labels.Everything())
		for _, c := range all {
			s.note(s.provide(c))
		}
		made, _ := volumes.Lister().List(labels.Everything())
		for _, v := range made {
			s.note(s.reclaim(v))
		}
	}
}

// signal says that something has changed, once until it is heard.
func signal(changed chan<- struct{}) cache.ResourceEventHandlerFuncs {
	say := func(any) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: say, DeleteFunc: say, UpdateFunc: func(any, any) { say(nil) }}
}

func (s *supervisor) note(err error) {
	if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
		log.Printf("storage: %v", err)
	}
}

// provide makes the volume of a claim that has none.
func (s *supervisor) provide(c *corev1.PersistentVolumeClaim) error {
	class := c.Spec.StorageClassName
	if class == nil || *class != StorageClass || c.Spec.VolumeName != "" || c.DeletionTimestamp != nil {
		return nil
	}
	name := "lab-" + string(c.UID)
	dir := s.path("volumes", name)
	// Any user of a pod may write: a hostPath volume knows no fsGroup.
	if err := errors.Join(os.MkdirAll(dir, 0o777), os.Chmod(dir, 0o777)); err != nil {
		return err
	}
	_, err := s.client.CoreV1().PersistentVolumes().Create(s.ctx, &corev1.PersistentVolume{
		// The annotation keeps Kubernetes' own deleter away.
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      c.Spec.Resources.Requests,
			AccessModes:                   c.Spec.AccessModes,
			StorageClassName:              StorageClass,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name, UID: c.UID, ResourceVersion: c.ResourceVersion,
			},
		},
	}, metav1.CreateOptions{})
	return err
}

// reclaim removes a volume whose claim is gone, with its data.
func (s *supervisor) reclaim(v *corev1.PersistentVolume) error {
	if v.Spec.StorageClassName != StorageClass || v.Status.Phase != corev1.VolumeReleased ||
		v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		return nil
	}
	if err := os.RemoveAll(s.path("volumes", v.Name)); err != nil {
		return err
	}
	return s.client.CoreV1().PersistentVolumes().Delete(s.ctx, v.Name, metav1.DeleteOptions{})
}
