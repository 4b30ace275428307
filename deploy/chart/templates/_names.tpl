{{- define "camserve.name" -}}
{{ if contains "camserve" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-camserve{{ end }}
{{- end }}

{{- define "camserve.selector" -}}
app.kubernetes.io/name: camserve
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "camserve.labels" -}}
{{ include "camserve.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
