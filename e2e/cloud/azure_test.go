package cloud

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// azuriteVariable names the program azurite-blob, of the npm package azurite: Microsoft's own server for tests.
const azuriteVariable = "THESEUS_AZURITE"

// The account that this server has for everybody.
const (
	azureAccount = "devstoreaccount1"
	azureKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

func TestAzure(t *testing.T) {
	program := os.Getenv(azuriteVariable)
	if program == "" {
		t.Skipf("Azure was not tried: set %s to the program azurite-blob (npm install azurite)", azuriteVariable)
	}
	at := azurite(t, program)
	n := 0
	// Not the whole suite: it closes writers that failed, at which the driver of gocloud.dev v0.47 panics. Package backup takes care of that itself.
	opens(t, func(t *testing.T) (string, string) {
		n++
		name := fmt.Sprintf("bucket%d", n)
		key, err := container.NewSharedKeyCredential(azureAccount, azureKey)
		must(t, err)
		c, err := container.NewClientWithSharedKeyCredential("http://"+at+"/"+azureAccount+"/"+name, key, nil)
		must(t, err)
		_, err = c.Create(t.Context(), nil)
		must(t, err)
		return "azblob://" + name + "/kv?protocol=http&domain=" + at, `{"account": "` + azureAccount + `", "key": "` + azureKey + `"}`
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// azurite starts the server and returns its address.
func azurite(t *testing.T, program string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	at := l.Addr().String()
	must(t, l.Close())
	_, port, err := net.SplitHostPort(at)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), program, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent", "--blobPort", port)
	cmd.Stderr = os.Stderr
	cmd.Dir = t.TempDir()
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", at)
		if err == nil {
			_ = c.Close()
			return at
		}
		if time.Now().After(deadline) {
			t.Fatalf("azurite does not listen: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
