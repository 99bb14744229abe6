// The definitions of Flux 2.9, for the tests of the manifests: read from the modules, nothing of them is built.
module s3-replication-operator/tests/rig/tools/flux

go 1.26.0

require (
	github.com/fluxcd/helm-controller v1.6.4
	github.com/fluxcd/kustomize-controller v1.9.5
	github.com/fluxcd/source-controller v1.9.5
)
