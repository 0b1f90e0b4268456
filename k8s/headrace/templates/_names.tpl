{{- define "headrace.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "headrace.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "headrace.labels" -}}
{{ include "headrace.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Of the pod that `helm test` starts: no label may make it one of the workers. */}}
{{- define "headrace.doctorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-doctor
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The region, under the two names that are read: botocore itself knows the second one alone. */}}
{{- define "headrace.region" -}}
{{- with .Values.aws.region -}}
- name: AWS_REGION
  value: {{ . | quote }}
- name: AWS_DEFAULT_REGION
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "headrace.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (ternary (include "headrace.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "headrace.port" -}}
{{ dig "ops" "port" 8080 .Values.config }}
{{- end }}

{{/* A value as the environment writes it: whole numbers without an exponent, lists as JSON. */}}
{{- define "headrace.written" -}}
{{- if kindIs "slice" . }}{{ toJson . }}{{ else if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* The settings, each group by group, as environment variables. */}}
{{- define "headrace.environment" -}}
{{- range $name, $value := .Values.config }}
{{- if kindIs "map" $value }}
{{- range $key, $one := $value }}
HEADRACE_{{ upper $name }}_{{ upper $key }}: {{ include "headrace.written" $one | quote }}
{{- end }}
{{- else }}
HEADRACE_{{ upper $name }}: {{ include "headrace.written" $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Seconds, rounded up, of a duration like 25s, 1m30s or 500ms. */}}
{{- define "headrace.seconds" -}}
{{- $seconds := 0.0 }}
{{- range regexFindAll "[0-9.]+(ms|s|m|h|d)" . -1 }}
{{- $number := regexFind "^[0-9.]+" . | float64 }}
{{- $unit := regexFind "[a-z]+$" . }}
{{- $seconds = addf $seconds (mulf $number (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0) $unit)) }}
{{- end }}
{{- ceil $seconds }}
{{- end }}

{{/* What selects this release's series: the operator names the job of a PodMonitor so. */}}
{{- define "headrace.selector" -}}
job="{{ .Release.Namespace }}/{{ include "headrace.name" . }}"
{{- end }}

{{/* The alerts with everything between @ signs filled in. */}}
{{- define "headrace.alerts" -}}
{{- $text := .Files.Get "files/alerts.yml" | replace "@selector@" (include "headrace.selector" .) | replace "@runbooks@" .Values.alerts.runbooks }}
{{- range $name, $value := .Values.alerts.thresholds }}
{{- $text = $text | replace (printf "@%s@" $name) (toString $value) }}
{{- end }}
{{- $text }}
{{- end }}
