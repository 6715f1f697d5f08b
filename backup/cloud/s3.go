package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	gcaws "gocloud.dev/aws"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

const s3Remedy = `write {"AccessKeyId": "…", "SecretAccessKey": "…"}`

// openS3 opens a bucket with a key of its own and no other. It takes the options of a URL that gocloud.dev takes, but those that choose
// credentials and encryption.
func openS3(ctx context.Context, u *url.URL, key []byte) (*blob.Bucket, error) {
	k, err := decodeKey(s3blob.Scheme, key, s3Remedy)
	if err != nil {
		return nil, err
	}
	if k["AccessKeyId"] == "" || k["SecretAccessKey"] == "" {
		return nil, &KeyError{s3blob.Scheme, "lacks AccessKeyId or SecretAccessKey", s3Remedy}
	}
	if err := only(u, "region", "endpoint", "use_path_style", "disable_https", "accelerate", "dualstack", "fips",
		"request_checksum_calculation", "response_checksum_validation"); err != nil {
		return nil, err
	}
	q := u.Query()
	options := &s3.Options{}
	for name, value := range map[string]*bool{"use_path_style": &options.UsePathStyle, "disable_https": &options.EndpointOptions.DisableHTTPS, "accelerate": &options.UseAccelerate} {
		if q.Has(name) {
			if *value, err = strconv.ParseBool(q.Get(name)); err != nil {
				return nil, fmt.Errorf("option %s: write true or false", name)
			}
			q.Del(name)
		}
	}
	config, err := gcaws.V2ConfigFromURLParams(ctx, q)
	if err != nil {
		return nil, err
	}
	if config.Region == "" {
		return nil, errors.New("it names no region; add ?region=REGION")
	}
	config.Credentials = credentials.NewStaticCredentialsProvider(k["AccessKeyId"], k["SecretAccessKey"], k["SessionToken"])
	client := s3.NewFromConfig(config, func(o *s3.Options) {
		o.UsePathStyle, o.EndpointOptions.DisableHTTPS, o.UseAccelerate = options.UsePathStyle, options.EndpointOptions.DisableHTTPS, options.UseAccelerate
	})
	return s3blob.OpenBucket(ctx, client, u.Host, &s3blob.Options{RequestChecksumCalculation: config.RequestChecksumCalculation})
}
