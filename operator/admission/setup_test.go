package admission

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"theseus.dev/api/v1alpha1"
)

// TestSetup starts a manager with the webhook and calls it as an API server does. There is no API server: nothing in it may need one to serve.
func TestSetup(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.now = time.Now()
	certificates := b.replica()
	mgr, err := ctrl.NewManager(&rest.Config{Host: "127.0.0.1:1"}, ctrl.Options{Scheme: testScheme(t), Metrics: server.Options{BindAddress: "0"},
		LeaderElection: false, HealthProbeBindAddress: "0"})
	if err != nil {
		t.Fatal(err)
	}
	library := shelf{system: compile(t, store)}
	o := Options{Port: port, Certificates: certificates, Library: func(types.NamespacedName) Library { return library }, Live: b.api, Cached: b.api}
	if err := Setup(mgr, o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- mgr.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	c := kv(version("3.9.0"))
	c.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.KindCluster))
	body, err := json.Marshal(admissionv1.AdmissionReview{Request: &admissionv1.AdmissionRequest{UID: "u", Operation: admissionv1.Create, Namespace: "prod", Object: runtime.RawExtension{Object: c}}})
	if err != nil {
		t.Fatal(err)
	}
	var review admissionv1.AdmissionReview
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if review, err = call(t, b, port, body); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if review.Response.Allowed || review.Response.UID != "u" || len(review.Response.Result.Details.Causes) != 1 {
		t.Errorf("got %v", review.Response)
	}
}

func call(t *testing.T, b *bench, port int, body []byte) (review admissionv1.AdmissionReview, err error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b.trusted())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "theseus.ops.svc"}}
	defer transport.CloseIdleConnections()
	address := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+PathCluster, bytes.NewReader(body))
	if err != nil {
		return review, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return review, err
	}
	defer response.Body.Close()
	return review, json.NewDecoder(response.Body).Decode(&review)
}
