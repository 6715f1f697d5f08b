package operator

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The API server counts a Deployment's annotations as generations, and its controller writes some.
func TestGenerationOfADeployment(t *testing.T) {
	made := func(d *appsv1.Deployment) string {
		got, err := generationOf(d)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	two, three := int32(2), int32(3)
	first := made(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Spec: appsv1.DeploymentSpec{Replicas: &two}})
	annotated := made(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 3, Annotations: map[string]string{"deployment.kubernetes.io/revision": "1"}},
		Spec: appsv1.DeploymentSpec{Replicas: &two}})
	edited := made(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 4}, Spec: appsv1.DeploymentSpec{Replicas: &three}})
	if first != annotated || first == edited {
		t.Errorf("got %s, annotated %s, edited %s; want the first two to be the same and the last another", first, annotated, edited)
	}
}
