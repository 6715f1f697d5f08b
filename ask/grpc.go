package ask

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"theseus.dev/api/v1alpha1"
)

// healthCall asks grpc.health.v1.Health/Check, over a connection of its own.
type healthCall struct {
	address, service string
	options          []grpc.DialOption
}

func (a *Asker) newHealthCall(g *v1alpha1.GRPCHealth, t Target) (*healthCall, error) {
	address, files, isTLS, err := portOf(t.Scope.M, g.Port)
	if err != nil {
		return nil, err
	}
	security := insecure.NewCredentials()
	if isTLS {
		id, err := a.identity(files)
		if err != nil {
			return nil, err
		}
		security = credentials.NewTLS(id.config)
	}
	return &healthCall{address: address, service: g.Service, options: []grpc.DialOption{
		grpc.WithTransportCredentials(security),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return a.Dial(ctx, "tcp", address)
		}),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 10)),
	}}, nil
}

func (c *healthCall) String() string { return "gRPC health of " + c.address }
func (c *healthCall) close()         {}

// once: every error is unsent, because asking changes nothing.
func (c *healthCall) once(ctx context.Context) (*answer, error) {
	conn, err := grpc.NewClient("passthrough:///"+c.address, c.options...)
	if err != nil {
		return nil, unsent{err}
	}
	defer conn.Close()
	request := &grpc_health_v1.HealthCheckRequest{Service: c.service}
	reply, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, request)
	switch status.Code(err) {
	case codes.OK:
		return healthAnswer(reply.GetStatus()), nil
	case codes.NotFound:
		return healthAnswer(grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN), nil
	}
	return nil, unsent{errors.New(status.Convert(err).Message())}
}

func healthAnswer(s grpc_health_v1.HealthCheckResponse_ServingStatus) *answer {
	a := &answer{values: map[string]any{"status": s.String()}}
	if s != grpc_health_v1.HealthCheckResponse_SERVING {
		a.fault = "status is " + s.String()
	}
	return a
}
