{{/* Names. */}}
{{- define "theseus.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "theseus.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "theseus.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "theseus.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Objects of the whole cluster carry the namespace in their name, so that two releases do not meet. */}}
{{- define "theseus.clustername" -}}
{{- printf "%s-%s" .Release.Namespace (include "theseus.fullname" .) -}}
{{- end -}}

{{- define "theseus.serviceaccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "theseus.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The operator derives the names of secret and configuration from that of the Service: see operator/admission. */}}
{{- define "theseus.webhook" -}}
{{- printf "%s-webhook" (include "theseus.fullname" .) -}}
{{- end -}}

{{- define "theseus.webhookconfiguration" -}}
{{- printf "%s-%s" .Release.Namespace (include "theseus.webhook" .) -}}
{{- end -}}

{{- define "theseus.image" -}}
{{- $repository := required "image.repository is needed: where the image of Theseus is, such as registry.example.com/theseus; \"make image IMAGE=registry.example.com/theseus:0.1.0\" builds it" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag | toString) -}}
{{- end -}}
{{- end -}}

{{- define "theseus.selector" -}}
app.kubernetes.io/name: {{ include "theseus.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "theseus.labels" -}}
{{ include "theseus.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "theseus.subject" -}}
- kind: ServiceAccount
  name: {{ include "theseus.serviceaccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* What the operator may do where Clusters are: in a ClusterRole, or in a Role for each namespace. No verb and no resource is a wildcard. */}}
{{- define "theseus.rules" -}}
# What people write. Theseus never writes a spec: a patch takes answered requests out of an annotation.
- apiGroups: [theseus.dev]
  resources: [clusters]
  verbs: [get, list, watch, patch]
- apiGroups: [theseus.dev]
  resources: [restores]
  verbs: [get, list, watch]
# A Backup is made before a hop, and deleted when its time is over.
- apiGroups: [theseus.dev]
  resources: [backups]
  verbs: [get, list, watch, create, delete]
- apiGroups: [theseus.dev]
  resources: [clusters/status, backups/status, restores/status]
  verbs: [update]
# Who makes what keeps its owner from going before it needs this where the API server asks for it.
- apiGroups: [theseus.dev]
  resources: [clusters/finalizers, backups/finalizers, restores/finalizers]
  verbs: [update]
# Members. A StatefulSet is deleted where an upgrade has moved its members to another one.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, update, patch]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get]
# What pulls their images beforehand.
- apiGroups: [apps]
  resources: [daemonsets]
  verbs: [list, create, delete]
# What goes with a Cluster is left to the garbage collector.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, update]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, update]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, update, patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# Why a container ended.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# Actions that run a program on a member. Reading is how the API server sees a WebSocket.
- apiGroups: [""]
  resources: [pods/exec]
  verbs: [get, create]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""] # why a pod is not made: nothing else says so
  resources: [events]
  verbs: [list]
{{- with .Values.rbac.secretNames }}
# The secrets of backup places, by name.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson . }}
  verbs: [get]
{{- end }}
{{- if .Values.rbac.copySecrets }}
# The copy of a key that another namespace grants, for as long as a Job needs it. It goes with its Job.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end }}
{{- end -}}

{{/* What it may do in the whole cluster in any case. */}}
{{- define "theseus.clusterrules" -}}
- apiGroups: [theseus.dev]
  resources: [systems]
  verbs: [get, list, watch]
{{- if .Values.webhook.enabled }}
# The certificate that the API server is to trust.
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingwebhookconfigurations]
  resourceNames: [{{ include "theseus.webhookconfiguration" . | quote }}]
  verbs: [get, patch]
{{- end }}
{{- end -}}
