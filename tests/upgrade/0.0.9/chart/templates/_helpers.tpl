{{/* The chart's name in labels. */}}
{{- define "operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What the objects are called. */}}
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

{{/* What the objects outside of namespaces are called: releases of one name in two namespaces do not meet. */}}
{{- define "operator.clustername" -}}
{{- printf "%s:%s" .Release.Namespace (include "operator.fullname" .) }}
{{- end }}

{{/* What never changes of the labels, for selectors. */}}
{{- define "operator.release" -}}
app.kubernetes.io/name: {{ include "operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The pods at work, and not those of `helm test`. */}}
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

{{/* The arguments: a value that is null leaves its flag out. */}}
{{- define "operator.args" -}}
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
  (list "http-address" .httpAddress)
  (list "otlp-endpoint" .otlpEndpoint)
  (list "log-format" .logFormat)
  (list "log-level" .logLevel)
  (list "log-level-file" .logLevelFile)) }}
{{- if .requireAccount }}
- --require-account
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

{{/* Pairs of flag and value. Numbers of a values file come as floats, which must not be written with an exponent. */}}
{{- define "operator.flags" -}}
{{- range . }}
{{- $value := index . 1 }}
{{- if and (not (kindIs "invalid" $value)) (ne (toString $value) "") }}
- {{ printf "--%s=%s" (index . 0) (ternary (printf "%.0f" (float64 $value)) (toString $value) (kindIs "float64" $value)) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* What `run` finds in its environment. */}}
{{- define "operator.env" -}}
{{- if .Values.leaderElection.enabled }}
# Shown in the Lease as its holder.
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

{{/* The container, without its name and its place in the pod. */}}
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

{{/* What the pods at work and the pod of `helm test` have in common. */}}
{{- define "operator.pod" -}}
serviceAccountName: {{ include "operator.serviceAccount" . }}
automountServiceAccountToken: true
# Variables for each Service of the namespace are of no use here.
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

{{/* What the operator does with resources, in every namespace or in one. */}}
{{- define "operator.rules" -}}
- apiGroups: [s3replication.dev]
  resources: [bucketreplications]
  verbs: [get, watch, patch]
- apiGroups: [s3replication.dev]
  resources: [bucketreplications/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* Who the roles are for. */}}
{{- define "operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
