{{- define "hdsynth.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "hdsynth.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "hdsynth.name" .) .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "hdsynth.name" .) | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- /* Selectors never change in the life of a release, so no version is among them. */}}
{{- define "hdsynth.selector" -}}
app.kubernetes.io/name: {{ include "hdsynth.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "hdsynth.labels" -}}
{{ include "hdsynth.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "hdsynth.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "hdsynth.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "hdsynth.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{- define "hdsynth.tlsSecret" -}}
{{ default (printf "%s-tls" (include "hdsynth.fullname" .)) .Values.tls.secret }}
{{- end }}

{{- define "hdsynth.cacheClaim" -}}
{{ default (printf "%s-engines" (include "hdsynth.fullname" .)) .Values.engineCache.claimName }}
{{- end }}

{{- define "hdsynth.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "hdsynth.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "hdsynth.settings" -}}
HDSYNTH_HOST: "0.0.0.0"
HDSYNTH_PORT: "8000"
HDSYNTH_GRPC_PORT: "8001"
HDSYNTH_METRICS_PORT: "9400"
HDSYNTH_BACKEND: {{ .Values.server.backend | quote }}
HDSYNTH_BUCKETS: {{ join "," .Values.server.buckets | quote }}
HDSYNTH_MAX_BATCH: {{ .Values.server.maxBatch | quote }}
HDSYNTH_MAX_WAIT_S: {{ .Values.server.maxWaitSeconds | quote }}
HDSYNTH_MAX_PIXELS: {{ int64 .Values.server.maxPixels | quote }}
HDSYNTH_LOG_FORMAT: {{ .Values.server.logFormat | quote }}
HDSYNTH_LOG_LEVEL: {{ .Values.server.logLevel | quote }}
HDSYNTH_DRAIN_DELAY_S: {{ .Values.drain.delaySeconds | quote }}
HDSYNTH_SHUTDOWN_TIMEOUT_S: {{ .Values.drain.timeoutSeconds | quote }}
{{- with .Values.server.tracingEndpoint }}
HDSYNTH_TRACING_ENDPOINT: {{ . | quote }}
{{- end }}
{{- if eq .Values.model.source "pvc" }}
{{- $paths := list }}
{{- range .Values.model.pvc.paths }}{{ $paths = append $paths (printf "/models/%s" .) }}{{ end }}
HDSYNTH_MODEL: {{ join "," $paths | quote }}
{{- else if ne .Values.model.source "bundled" }}
HDSYNTH_MODEL: /models/bundle
{{- end }}
{{- if ne .Values.engineCache.type "off" }}
HDSYNTH_ENGINE_CACHE: /var/cache/hdsynth
{{- end }}
{{- if .Values.auth.keysSecret }}
HDSYNTH_API_KEYS_FILE: /etc/hdsynth/keys/keys
{{- end }}
HDSYNTH_RATE_LIMIT: {{ .Values.auth.rateLimit | quote }}
HDSYNTH_CONCURRENCY_LIMIT: {{ .Values.auth.concurrencyLimit | quote }}
{{- if .Values.tls.enabled }}
HDSYNTH_TLS_CERTIFICATE: /etc/hdsynth/tls/tls.crt
HDSYNTH_TLS_KEY: /etc/hdsynth/tls/tls.key
{{- if .Values.tls.clientCaSecret }}
HDSYNTH_TLS_CLIENT_CA: /etc/hdsynth/client-ca/ca.crt
{{- end }}
{{- end }}
{{- range $name, $value := .Values.server.extraSettings }}
HDSYNTH_{{ upper $name }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{- /* Where the pod finds the model: mounts, volumes and how they are filled. */}}
{{- define "hdsynth.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: shm
  mountPath: /dev/shm
{{- if ne .Values.model.source "bundled" }}
- name: models
  mountPath: {{ eq .Values.model.source "image" | ternary "/models/bundle" "/models" }}
  readOnly: true
{{- end }}
{{- if ne .Values.engineCache.type "off" }}
- name: engines
  mountPath: /var/cache/hdsynth
{{- end }}
{{- end }}

{{- define "hdsynth.volumes" -}}
- name: tmp
  emptyDir: {}
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: 1Gi
{{- if eq .Values.model.source "pvc" }}
- name: models
  persistentVolumeClaim:
    claimName: {{ required "model.pvc.claimName is needed with model.source pvc" .Values.model.pvc.claimName }}
    readOnly: true
{{- else if eq .Values.model.source "image" }}
- name: models
  image:
    reference: {{ required "model.image.reference is needed with model.source image" .Values.model.image.reference }}
    pullPolicy: {{ .Values.model.image.pullPolicy }}
{{- else if eq .Values.model.source "url" }}
- name: models
  emptyDir:
    sizeLimit: {{ .Values.model.url.size }}
{{- end }}
{{- if eq .Values.engineCache.type "pvc" }}
- name: engines
  persistentVolumeClaim:
    claimName: {{ include "hdsynth.cacheClaim" . }}
{{- else if eq .Values.engineCache.type "hostPath" }}
- name: engines
  hostPath:
    path: {{ .Values.engineCache.hostPath }}
    type: DirectoryOrCreate
{{- end }}
{{- end }}

{{- define "hdsynth.fetchModel" -}}
- name: fetch-model
  image: {{ include "hdsynth.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [bundle, fetch, {{ required "model.url.address is needed with model.source url" .Values.model.url.address | quote }}, --sha256, {{ required "model.url.sha256 is needed with model.source url" .Values.model.url.sha256 | quote }}, -o, /models/bundle]
  {{- with .Values.model.url.credentialsSecret }}
  envFrom:
    - secretRef:
        name: {{ . }}
  {{- end }}
  securityContext:
    {{- include "hdsynth.containerSecurity" . | nindent 4 }}
  resources:
    requests:
      cpu: 100m
      memory: 256Mi
    limits:
      memory: 1Gi
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    - name: models
      mountPath: /models
{{- end }}

{{- /* Which nodes the pods may run on. */}}
{{- define "hdsynth.scheduling" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.gpu.enabled .Values.tolerations }}
tolerations:
  {{- if .Values.gpu.enabled }}
  - key: nvidia.com/gpu
    operator: Exists
    effect: NoSchedule
  {{- end }}
  {{- with .Values.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- if and .Values.gpu.enabled .Values.gpu.products }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            - key: nvidia.com/gpu.product
              operator: In
              values:
                {{- toYaml .Values.gpu.products | nindent 16 }}
  {{- with omit .Values.affinity "nodeAffinity" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- else }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.gpu.runtimeClass }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.priorityClass }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "hdsynth.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- if .Values.gpu.enabled }}
{{- $gpu := dict .Values.gpu.resource .Values.gpu.count }}
{{- $_ := set $resources "requests" (merge (default (dict) $resources.requests) $gpu) }}
{{- $_ := set $resources "limits" (merge (default (dict) $resources.limits) $gpu) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}
