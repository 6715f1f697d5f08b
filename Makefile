# Everything that is built or checked here. A machine needs Go, git and make;
# "make help" lists what can be asked for.

GO ?= go

# One set of flags for all builds and tests, so that one build cache serves
# the product, its tests and the servers, and nothing is compiled twice.
export CGO_ENABLED := 0
# Nobody looks at what debuggers need: left out when linked, it need not be made, which is another tenth of a build.
export GOFLAGS := -trimpath -buildvcs=false -gcflags=all=-dwarf=false
LDFLAGS := -s -w
# The compiler lives for seconds: with less collecting of its garbage a build takes a tenth less, and some hundred megabytes more.
BUILD := GOGC=400 $(GO) build

PREFIX ?= /usr/local
SERVERS := bin/servers

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# In order, one at a time: go itself keeps the processors busy, and the lines
# that say what is being built stay in order.
.NOTPARALLEL:
.PHONY: help image demo test test-quick test-generated test-simulator test-e2e test-kubernetes e2e test-long bench lint build generate install servers clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

# --- the product -----------------------------------------------------------

build: ## build bin/theseus
	@echo "building theseus"
	@$(BUILD) -ldflags "$(LDFLAGS)" -o bin/theseus ./cmd/theseus

generate: bin/controller-gen ## make deep copies and CRDs anew from api/
	@bin/controller-gen object paths=./api/v1alpha1
	@bin/controller-gen crd paths=./api/v1alpha1 output:crd:dir=config/crd
	@cp config/crd/*.yaml charts/theseus/crds/

bin/controller-gen: tools/controller-gen/go.mod tools/controller-gen/go.sum
	@echo "building controller-gen"
	@cd tools/controller-gen && $(BUILD) -ldflags "$(LDFLAGS)" -o $(CURDIR)/bin/ tool

install: build ## put theseus into PREFIX/bin (/usr/local)
	install -D -m 0755 bin/theseus $(DESTDIR)$(PREFIX)/bin/theseus
	ln -sf theseus $(DESTDIR)$(PREFIX)/bin/kubectl-theseus

# What builds images, and what the image is called.
DOCKER ?= docker
IMAGE ?= theseus:dev
image: ## build the image of the operator, IMAGE=registry.example.com/theseus:0.1.0
	$(DOCKER) build --tag $(IMAGE) .

demo: build servers ## upgrade a real etcd under load, and take a broken version back
	@bin/theseus demo

# --- the servers that demo and tests upgrade ---------------------------------

# The version of an etcd is the one that its module requires: written once.
etcd-version = $(shell awk '$$1 == "go.etcd.io/etcd/server/v3" && NF > 1 {print substr($$2, 2)}' servers/etcd-$(1)/go.mod)
ETCD35 := $(call etcd-version,3.5)
ETCD36 := $(call etcd-version,3.6)
ETCD37 := $(call etcd-version,3.7)
# The release that is broken on purpose; servers/etcd-3.7/broken says so too.
BROKEN := 3.7.4

servers: $(SERVERS)/etcd-$(ETCD35) $(SERVERS)/etcd-$(ETCD36) $(SERVERS)/etcd-$(ETCD37) $(SERVERS)/etcd-$(BROKEN) $(SERVERS)/standin ## build the real servers and the stand-in

# etcd MINOR,VERSION,COUNT: etcd, etcdctl and etcdutl of one version. "tool" is
# the list of programs in the module's go.mod.
define etcd
$(SERVERS)/etcd-$(2): servers/etcd-$(1)/go.mod servers/etcd-$(1)/go.sum
	@echo "building etcd $(2) ($(3) of 4)"
	@mkdir -p $(SERVERS)/.build-$(2)
	@cd servers/etcd-$(1) && $(BUILD) -ldflags "$(LDFLAGS)" -o $(CURDIR)/$(SERVERS)/.build-$(2)/ tool
	@cd $(SERVERS) && mv .build-$(2)/etcdctl etcdctl-$(2) && mv .build-$(2)/etcdutl etcdutl-$(2) && mv .build-$(2)/server etcd-$(2) && rmdir .build-$(2)
endef
$(eval $(call etcd,3.5,$(ETCD35),1))
$(eval $(call etcd,3.6,$(ETCD36),2))
$(eval $(call etcd,3.7,$(ETCD37),3))

# Only the server is broken; its tools are those of the release before.
$(SERVERS)/etcd-$(BROKEN): servers/etcd-3.7/broken/main.go servers/etcd-3.7/go.mod servers/etcd-3.7/go.sum
	@echo "building etcd $(BROKEN), broken on purpose (4 of 4)"
	@cd servers/etcd-3.7 && $(BUILD) -ldflags "$(LDFLAGS)" -o $(CURDIR)/$@ ./broken
	@ln -sf etcdctl-$(ETCD37) $(SERVERS)/etcdctl-$(BROKEN)
	@ln -sf etcdutl-$(ETCD37) $(SERVERS)/etcdutl-$(BROKEN)

$(SERVERS)/standin: $(filter-out %_test.go,$(wildcard servers/standin/*.go))
	@echo "building standin"
	@$(BUILD) -ldflags "$(LDFLAGS)" -o $@ ./servers/standin

# --- checks ------------------------------------------------------------------

# The chart is rendered with helm itself. Three minutes of two processors, once; Kubernetes' client is most of it, and is shared with the product.
bin/helm: tools/helm/go.mod tools/helm/go.sum
	@echo "building helm (some minutes, once)"
	@cd tools/helm && $(BUILD) -ldflags "$(LDFLAGS)" -o $(CURDIR)/bin/ tool

lint: bin/golangci-lint ## check the style with golangci-lint
	@bin/golangci-lint run
	@cd e2e/kubernetes && $(CURDIR)/bin/golangci-lint run
	@cd e2e/cloud && $(CURDIR)/bin/golangci-lint run
	@cd e2e/crd && $(CURDIR)/bin/golangci-lint run

bin/golangci-lint: tools/go.mod tools/go.sum
	@echo "building golangci-lint (some minutes, once)"
	@cd tools && $(BUILD) -ldflags "$(LDFLAGS)" -o $(CURDIR)/bin/ tool

test: servers test-quick test-simulator test-e2e test-kubernetes ## run all tests: quick ones first, long ones last

# The suites that take long and come last, each by a target of its own.
LONG := /e2e(/|$$)|/upgradetest(/|$$)|/bench(/|$$)

# What "make generate" makes of api/ is in the tree: it is to be of the api/ of now.
test-generated: bin/controller-gen
	@.ci/timed "make generate was run" sh -c 'bin/controller-gen object paths=./api/v1alpha1 output:object:dir=bin/.generated && bin/controller-gen crd paths=./api/v1alpha1 output:crd:dir=bin/.generated/crd && \
		diff -u api/v1alpha1/zz_generated.deepcopy.go bin/.generated/zz_generated.deepcopy.go && diff -ru config/crd bin/.generated/crd'

# The CRDs are outside the module whose tests read them, where the cache of test results does not look: -count=1.
test-quick: servers bin/helm test-generated ## run vet and the tests of each package
	@.ci/timed "go vet" $(GO) vet ./...
	@.ci/timed "packages" $(GO) test -p 2 $$($(GO) list ./... | grep -Ev '$(LONG)')
	@.ci/timed "rules of CRDs" sh -c 'cd e2e/crd && $(GO) test -count=1 ./...'

# Run afresh each time (-count=1): these look at programs and at chance, which
# the cache of test results does not see.
test-simulator: ## run the simulated upgrades
	@if [ -d upgradetest ]; then .ci/timed "simulator" $(GO) test -count=1 ./upgradetest/...; fi

test-e2e: servers ## run the built binary against real servers
	@if [ -d e2e ]; then $(MAKE) --no-print-directory build && .ci/timed "end to end" $(GO) test -count=1 -timeout $(if $(THESEUS_LONG),3h,50m) ./e2e/...; fi
	@.ci/timed "buckets" sh -c 'cd e2e/cloud && $(GO) vet ./... && $(GO) test ./...'

# A real Kubernetes with real containers, in namespaces of its own; see e2e/kubernetes/README.md. It needs root, says so where it
# cannot run, and fails where CI is set. Its tests mostly wait, for a soak or a member that starts: three side by side keep half of two processors busy.
test-kubernetes: build servers bin/helm
	@.ci/timed "vet of e2e/kubernetes" sh -c 'cd e2e/kubernetes && $(GO) vet . ./cmd/... ./lab'
	@.ci/timed "Kubernetes" sh -c 'cd e2e/kubernetes && $(GO) test -count=1 -timeout $(if $(THESEUS_LONG),90m,60m) -parallel 3 -v .'
	@$(if $(THESEUS_LONG),,.ci/timed "Kubernetes, nodes that are lost" sh -c 'cd e2e/kubernetes && THESEUS_NODES=3 $(GO) test -count=1 -timeout 20m -v -run "TestUpgradeStandsNodes|TestNodeIsCutOffAndHealed" .')

e2e: test-kubernetes ## try it on a real Kubernetes: the one of KUBECONFIG, or one that it starts

test-long: export THESEUS_LONG := 1
test-long: test ## run all tests, and each of the long ones in full

bench: build servers ## measure, side by side with a peer or a limit
	@.ci/timed "bench" $(GO) run ./bench
	@.ci/timed "bench on Kubernetes" sh -c 'cd e2e/kubernetes && $(GO) run ./cmd/bench'

clean: ## remove what was built here; the build cache stays
	rm -rf bin demo .cache
