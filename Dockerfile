# The image of Theseus: the operator, and the Jobs that it starts. "docker build -t theseus ."
# It runs as nobody, writes nothing to its own file system, and has no shell.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
# The modules first: they change seldom, and their layer is kept.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH RELEASE=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.release=$RELEASE" -o /theseus ./cmd/theseus

FROM gcr.io/distroless/static:nonroot
# Pods that the operator makes call it by this path.
COPY --from=build /theseus /theseus
USER 65532:65532
ENTRYPOINT ["/theseus"]
CMD ["operator"]
