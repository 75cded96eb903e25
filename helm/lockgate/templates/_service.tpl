{{/* What the control Service and the data Services share: (list $ service-values index). */}}

{{- define "lockgate.fill" -}}
{{- $root := index . 0 -}}
{{- $index := index . 1 -}}
{{- $text := replace "{index}" (toString $index) (toString (index . 2)) -}}
{{- if $root.Values.dataPorts.addresses -}}
{{- $text = replace "{address}" (index $root.Values.dataPorts.addresses (int $index)) $text -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{- define "lockgate.serviceSpec" -}}
{{- $values := (index . 0).Values -}}
{{- $service := index . 1 -}}
type: {{ ternary "ClusterIP" $values.exposure (eq $values.exposure "Gateway") }}
{{- with $values.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with $values.ipFamilies }}
ipFamilies: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if ne $values.exposure "Gateway" }}
externalTrafficPolicy: {{ $service.externalTrafficPolicy }}
{{- end }}
{{- if eq $values.exposure "LoadBalancer" }}
{{- with $service.loadBalancerClass }}
loadBalancerClass: {{ . }}
{{- end }}
{{- with $service.loadBalancerIP }}
loadBalancerIP: {{ include "lockgate.fill" (list (index $ 0) (index $ 2) .) | quote }}
{{- end }}
{{- with $service.loadBalancerSourceRanges }}
loadBalancerSourceRanges: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if not (kindIs "invalid" $service.allocateLoadBalancerNodePorts) }}
allocateLoadBalancerNodePorts: {{ $service.allocateLoadBalancerNodePorts }}
{{- end }}
{{- end }}
{{- end -}}
