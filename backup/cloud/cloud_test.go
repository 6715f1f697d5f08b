package cloud_test

import (
	"errors"
	"strings"
	"testing"

	"theseus.dev/backup"
	"theseus.dev/backup/cloud"
)

// TestKeys shows what is said about keys and options that are wrong, before anything is sent. No message shows a part of a key.
func TestKeys(t *testing.T) {
	const s3Good = `{"AccessKeyId": "id", "SecretAccessKey": "hush"}`
	for name, test := range map[string]struct{ url, key, want string }{
		"s3":                       {"s3://bucket?region=eu-west-1", s3Good, ""},
		"s3 with a path":           {"s3://bucket/kv/prod?region=eu-west-1", s3Good, ""},
		"s3 no json":               {"s3://bucket?region=eu-west-1", "hush", "is not a JSON object"},
		"s3 half a key":            {"s3://bucket?region=eu-west-1", `{"AccessKeyId": "hush"}`, "lacks AccessKeyId or SecretAccessKey"},
		"s3 no region":             {"s3://bucket", s3Good, "add ?region=REGION"},
		"s3 profile of the host":   {"s3://bucket?region=eu-west-1&profile=root", s3Good, `option "profile" is not known`},
		"s3 option":                {"s3://bucket?region=eu-west-1&use_path_style=maybe", s3Good, "write true or false"},
		"gs no json":               {"gs://bucket", "hush", "is not a JSON object"},
		"gs another type":          {"gs://bucket", `{"type": "external_account", "x": "hush"}`, "is not of type service_account"},
		"gs option":                {"gs://bucket?region=eu", `{"type": "service_account"}`, `option "region" is not known`},
		"azure key":                {"azblob://bucket", `{"account": "a", "key": "aHVzaA=="}`, ""},
		"azure token":              {"azblob://bucket", `{"account": "a", "sasToken": "sig=hush"}`, ""},
		"azure connection":         {"azblob://bucket", `{"connectionString": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=aHVzaA==;EndpointSuffix=core.windows.net"}`, ""},
		"azure no account":         {"azblob://bucket", `{"key": "aHVzaA=="}`, "lacks account, key or sasToken"},
		"azure key not base64":     {"azblob://bucket", `{"account": "a", "key": "hush!"}`, "is not base64"},
		"azure connection garbled": {"azblob://bucket", `{"connectionString": "hush"}`, "cannot be read"},
		"a folder with a key":      {"file:///var/backups", "hush", "takes no credentials"},
		"no such scheme":           {"ftp://bucket", "hush", "is not in this build"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_REGION", "")
			store, err := cloud.Open(t.Context(), test.url, []byte(test.key))
			if err == nil {
				_ = store.Close()
			}
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

// TestNoKey leaves credentials to the environment, and folders as they are.
func TestNoKey(t *testing.T) {
	for _, place := range []string{"file://" + t.TempDir(), "s3://bucket/kv?region=eu-west-1", "gs://bucket/kv?anonymous=true"} {
		store, err := cloud.Open(t.Context(), place, nil)
		if err != nil {
			t.Errorf("%s: %v", place, err)
			continue
		}
		_ = store.Close()
	}
	var wrong *backup.URLError
	if _, err := cloud.Open(t.Context(), "file://relative", nil); !errors.As(err, &wrong) {
		t.Errorf("got %v, want a URLError", err)
	}
}
