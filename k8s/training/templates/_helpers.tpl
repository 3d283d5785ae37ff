{{- define "training.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "training.podMetadata" -}}
labels:
  {{- include "training.labels" . | nindent 2 }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "training.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end }}

{{- /* torchrun reads nodes, processes, rank and address from PET_* variables, which either operator
sets. It restarts nothing itself: a pod that comes back begins with attempt 0, and processes of
different attempts do not find each other. */}}
{{- define "training.command" -}}
- torchrun
- --no-python
- hdsynth
- train
- {{ printf "/data/%s" .Values.data.path | clean }}
- --output
- {{ printf "/runs/%s" .Values.runs.name | clean }}
- --preset
- {{ .Values.preset }}
{{- with .Values.runs.init }}
- --init
- {{ printf "/runs/%s" . | clean }}
{{- end }}
{{- with .Values.args }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "training.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- if .Values.gpu.enabled }}
{{- $gpu := dict .Values.gpu.resource .Values.processesPerNode }}
{{- $_ := set $resources "requests" (merge (default (dict) $resources.requests) $gpu) }}
{{- $_ := set $resources "limits" (merge (default (dict) $resources.limits) $gpu) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{- /* The pod of either kind; each operator knows its container by a name of its own. */}}
{{- define "training.pod" -}}
{{- with .root -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .Values.graceSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
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
{{- end }}
{{- with .Values.priorityClass }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
containers:
  - name: {{ .container }}
    {{- with .root }}
    image: {{ include "training.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command:
      {{- include "training.command" . | nindent 6 }}
    {{- with .Values.env }}
    env:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    resources:
      {{- include "training.resources" . | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    volumeMounts:
      - name: data
        mountPath: /data
        readOnly: true
      - name: runs
        mountPath: /runs
      - name: tmp
        mountPath: /tmp
      - name: shm
        mountPath: /dev/shm
    {{- end }}
{{- with .root }}
volumes:
  - name: data
    persistentVolumeClaim:
      claimName: {{ required "data.claimName is needed: the claim with the data set" .Values.data.claimName }}
      readOnly: true
  - name: runs
    persistentVolumeClaim:
      claimName: {{ required "runs.claimName is needed: the claim for runs" .Values.runs.claimName }}
  - name: tmp
    emptyDir: {}
  - name: shm
    emptyDir:
      medium: Memory
      sizeLimit: {{ .Values.sharedMemory }}
{{- end }}
{{- end }}
