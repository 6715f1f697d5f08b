package cloud

import (
	"context"
	"net/url"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
)

const azureRemedy = `write {"account": "…", "key": "…"}, {"account": "…", "sasToken": "…"} or {"connectionString": "…"}`

// openAzure opens a container with a key of its own and no other.
func openAzure(ctx context.Context, u *url.URL, key []byte) (*blob.Bucket, error) {
	k, err := decodeKey(azureblob.Scheme, key, azureRemedy)
	if err != nil {
		return nil, err
	}
	if err := only(u, "domain", "protocol", "localemu", "cdn"); err != nil {
		return nil, err
	}
	client, err := azureClient(u, k)
	if err != nil {
		return nil, err
	}
	return azureblob.OpenBucket(ctx, client, nil)
}

func azureClient(u *url.URL, k map[string]string) (*container.Client, error) {
	if text := k["connectionString"]; text != "" {
		client, err := container.NewClientFromConnectionString(text, u.Host, nil)
		if err != nil { // its error may quote the text
			return nil, &KeyError{azureblob.Scheme, "has a connectionString that cannot be read", azureRemedy}
		}
		return client, nil
	}
	if k["account"] == "" || k["key"] == "" && k["sasToken"] == "" {
		return nil, &KeyError{azureblob.Scheme, "lacks account, key or sasToken", azureRemedy}
	}
	q := u.Query()
	service, err := azureblob.NewServiceURL(&azureblob.ServiceURLOptions{AccountName: k["account"], SASToken: k["sasToken"], StorageDomain: q.Get("domain"),
		Protocol: q.Get("protocol"), IsLocalEmulator: q.Get("localemu") == "true", IsCDN: q.Get("cdn") == "true"})
	if err != nil {
		return nil, err
	}
	at, err := url.JoinPath(string(service), u.Host)
	if err != nil {
		return nil, &KeyError{azureblob.Scheme, "has a sasToken that cannot be part of a URL", azureRemedy}
	}
	if k["key"] == "" {
		return container.NewClientWithNoCredential(at, nil)
	}
	shared, err := container.NewSharedKeyCredential(k["account"], k["key"])
	if err != nil {
		return nil, &KeyError{azureblob.Scheme, "has a key that is not base64", azureRemedy}
	}
	return container.NewClientWithSharedKeyCredential(at, shared, nil)
}
