{{/* The chart's name in labels. */}}
{{- define "operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of the objects. */}}
{{- define "operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The name of cluster-scoped objects: releases of the same name in two namespaces do not collide. */}}
{{- define "operator.clustername" -}}
{{- printf "%s:%s" .Release.Namespace (include "operator.fullname" .) }}
{{- end }}

{{/* The labels that never change, for selectors. */}}
{{- define "operator.release" -}}
app.kubernetes.io/name: {{ include "operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The labels of the working pods, without the pod of `helm test`. */}}
{{- define "operator.selector" -}}
{{ include "operator.release" . }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Labels of every object. */}}
{{- define "operator.labels" -}}
{{ include "operator.release" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "operator.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s%s@%s" .repository (ternary (printf ":%s" .tag) "" (ne .tag "")) .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "operator.leaseName" -}}
{{- default (include "operator.fullname" .) .Values.leaderElection.leaseName }}
{{- end }}

{{- define "operator.leaseNamespace" -}}
{{- default .Release.Namespace .Values.leaderElection.leaseNamespace }}
{{- end }}

{{/* The port of httpAddress. */}}
{{- define "operator.port" -}}
{{- regexFind "[0-9]+$" .Values.operator.httpAddress }}
{{- end }}

{{/* The port of a URL, unless it is 443, which is open anyway; nothing without a URL. */}}
{{- define "operator.urlPort" -}}
{{- with . }}
{{- $url := urlParse . }}
{{- $port := default (ternary "443" "80" (eq $url.scheme "https")) (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host)) }}
{{- if ne $port "443" }}
{{- $port }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Flags that decide more of the release than the arguments: its rights, probes, ports, labels and notes. Each has a value, and
given in another way, the rest of the release would not know of it.
*/}}
{{- define "operator.requireValues" -}}
{{- range $flag, $value := dict
  "namespaces" "namespaces"
  "selector" "operator.selector"
  "read-only" "operator.readOnly"
  "require-account" "operator.requireAccount"
  "http-address" "operator.httpAddress"
  "otlp-endpoint" "operator.otlpEndpoint"
  "leader-elect" "leaderElection.enabled"
  "lease-name" "leaderElection.leaseName"
  "lease-namespace" "leaderElection.leaseNamespace" }}
{{- range $.Values.extraArgs }}
{{- if regexMatch (printf "^--%s(=|$)" $flag) . }}
{{- fail (printf "extraArgs has --%s: set the value %s instead, from which the rest of the release is made too" $flag $value) }}
{{- end }}
{{- end }}
{{- $variable := $flag | replace "-" "_" | upper }}
{{- range $.Values.extraEnv }}
{{- if eq .name $variable }}
{{- fail (printf "extraEnv has %s: set the value %s instead, from which the rest of the release is made too" $variable $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The arguments: a value that is null leaves its flag out. */}}
{{- define "operator.args" -}}
{{- include "operator.requireValues" . -}}
- run
{{- with .Values.leaderElection }}
{{- if .enabled }}
- --leader-elect
- {{ printf "--lease-name=%s" (include "operator.leaseName" $) | quote }}
- {{ printf "--lease-namespace=%s" (include "operator.leaseNamespace" $) | quote }}
{{- include "operator.flags" (list
  (list "lease-duration" .leaseDuration)
  (list "renew-deadline" .renewDeadline)
  (list "retry-period" .retryPeriod)) }}
{{- end }}
{{- end }}
{{- with .Values.namespaces }}
- {{ printf "--namespaces=%s" (join "," .) | quote }}
{{- end }}
{{- with .Values.operator }}
{{- include "operator.flags" (list
  (list "selector" .selector)
  (list "concurrency" .concurrency)
  (list "interval" .interval)
  (list "min-interval" .minInterval)
  (list "request-interval" .requestInterval)
  (list "backfill-settle" .backfillSettle)
  (list "health-interval" .healthInterval)
  (list "health-window" .healthWindow)
  (list "http-address" .httpAddress)
  (list "runbook-url" .runbookUrl)
  (list "otlp-endpoint" .otlpEndpoint)
  (list "log-format" .logFormat)
  (list "log-level" .logLevel)
  (list "log-level-file" .logLevelFile)) }}
{{- range .events.queues }}
- {{ printf "--event-queue=%s" . | quote }}
{{- end }}
{{- include "operator.flags" (list (list "interval-with-events" .events.interval)) }}
{{- if .requireAccount }}
- --require-account
{{- end }}
{{- if .readOnly }}
- --read-only
{{- end }}
{{- range .formerClusters }}
- {{ printf "--former-cluster=%s" . }}
{{- end }}
{{- if .resourceMetrics }}
- --resource-metrics
{{- end }}
{{- end }}
{{- with .Values.aws }}
{{- include "operator.flags" (list
  (list "s3-read-rate" .s3ReadRate)
  (list "s3-write-rate" .s3WriteRate)
  (list "iam-read-rate" .iamReadRate)
  (list "iam-write-rate" .iamWriteRate)
  (list "aws-attempt-timeout" .attemptTimeout)
  (list "aws-attempts" .attempts)) }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Arguments from pairs of flag and value. Helm reads numbers as floats; they must not be written with an exponent. */}}
{{- define "operator.flags" -}}
{{- range . }}
{{- $value := index . 1 }}
{{- if and (not (kindIs "invalid" $value)) (ne (toString $value) "") }}
- {{ printf "--%s=%s" (index . 0) (ternary (printf "%.0f" (float64 $value)) (toString $value) (kindIs "float64" $value)) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The environment of `run`. */}}
{{- define "operator.env" -}}
{{- if .Values.leaderElection.enabled }}
# The Lease shows it as its holder.
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- with .Values.aws }}
{{- if .region }}
- name: AWS_REGION
  value: {{ .region | quote }}
{{- end }}
{{- if .endpointUrl }}
- name: AWS_ENDPOINT_URL
  value: {{ .endpointUrl | quote }}
{{- end }}
{{- if .credentialsSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .credentialsSecret }}
      key: {{ .credentialsSecretKeys.accessKeyId }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .credentialsSecret }}
      key: {{ .credentialsSecretKeys.secretAccessKey }}
- name: AWS_SESSION_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .credentialsSecret }}
      key: {{ .credentialsSecretKeys.sessionToken }}
      optional: true
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The container, without its name, ports and probes. */}}
{{- define "operator.container" -}}
image: {{ include "operator.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
  {{- include "operator.args" . | nindent 2 }}
{{- with include "operator.env" . | trim }}
env:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with .Values.extraVolumeMounts }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The settings that the working pods and the pod of `helm test` share. */}}
{{- define "operator.pod" -}}
serviceAccountName: {{ include "operator.serviceAccount" . }}
automountServiceAccountToken: true
# The operator uses no variables of the Services in its namespace.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.extraVolumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The rules for resources, in every namespace or in one. */}}
{{- define "operator.rules" -}}
- apiGroups: [s3replication.dev]
  resources: [bucketreplications, replicationbackfills]
  verbs: [get, watch, patch]
- apiGroups: [s3replication.dev]
  resources: [bucketreplications/status, replicationbackfills/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* The subject of the bindings. */}}
{{- define "operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/*
A file of the chart, by (list ROOT PATH). In the repository the files are links to crds/ and deploy/, which Helm follows
and some other tools drop: without this the chart would install less, silently.
*/}}
{{- define "operator.file" -}}
{{- $path := index . 1 }}
{{- required (include "operator.unlinked" $path) ((index . 0).Files.Get $path) }}
{{- end }}

{{/* The fix for a file that is missing. */}}
{{- define "operator.unlinked" -}}
{{- printf "this copy of the chart has no %s: it was copied without its symbolic links. Use a chart made by helm package" . }}
{{- end }}
