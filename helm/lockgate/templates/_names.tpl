{{/* Names and labels. */}}

{{- define "lockgate.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- /* Services and pods add a few characters to it, and end at 63. */ -}}
{{- default $full .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{- define "lockgate.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "lockgate.labels" -}}
{{ include "lockgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "lockgate.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "lockgate.serviceAccount" -}}
{{- default (ternary (include "lockgate.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The Secret with the certificate; empty without TLS. */}}
{{- define "lockgate.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled }}{{ include "lockgate.fullname" . }}-tls{{ else }}{{ .Values.tls.secret }}{{ end -}}
{{- end -}}

{{/* The enabled listeners, by name. */}}
{{- define "lockgate.listeners" -}}
{{- $enabled := dict -}}
{{- range $name, $listener := .Values.listeners -}}
{{- if and $listener (ne (toString $listener.enabled) "false") -}}
{{- $_ := set $enabled $name $listener -}}
{{- end -}}
{{- end -}}
{{- toYaml $enabled -}}
{{- end -}}

{{/* Names of the enabled FTP listeners with TLS, as a YAML list. */}}
{{- define "lockgate.tlsListeners" -}}
{{- $names := list -}}
{{- range $name, $listener := fromYaml (include "lockgate.listeners" .) -}}
{{- if and (eq $listener.protocol "ftp") (ne (default "none" $listener.tls) "none") -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- end -}}
{{- toYaml $names -}}
{{- end -}}

{{/* Names of the enabled listeners of a protocol, as a YAML list: (list $ "ftp"). */}}
{{- define "lockgate.listenersOf" -}}
{{- $protocol := index . 1 -}}
{{- $names := list -}}
{{- range $name, $listener := fromYaml (include "lockgate.listeners" (index . 0)) -}}
{{- if eq $listener.protocol $protocol -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- end -}}
{{- toYaml $names -}}
{{- end -}}

{{/* Data ports exist if there is an FTP listener. The empty string: no. */}}
{{- define "lockgate.hasData" -}}
{{- if fromYamlArray (include "lockgate.listenersOf" (list . "ftp")) }}yes{{ end -}}
{{- end -}}

{{/* The first port of a replica: (list $ index). */}}
{{- define "lockgate.firstPort" -}}
{{- with (index . 0).Values.dataPorts }}{{ add .first (mul (index $ 1) .perReplica) }}{{ end -}}
{{- end -}}

{{/* A name that the pods resolve to each replica's address of dataPorts.addresses, by their /etc/hosts. */}}
{{- define "lockgate.dataName" -}}
{{- printf "data-%s.%s.internal" (index . 1) (include "lockgate.fullname" (index . 0)) -}}
{{- end -}}

{{/* An address with a port: (list "::" 2121). */}}
{{- define "lockgate.socket" -}}
{{- if contains ":" (index . 0) }}{{ printf "[%s]:%d" (index . 0) (int (index . 1)) }}{{ else }}{{ printf "%s:%d" (index . 0) (int (index . 1)) }}{{ end -}}
{{- end -}}
