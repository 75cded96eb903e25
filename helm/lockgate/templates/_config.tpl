{{/* The gateway's configuration: the user's keys, with listeners, data ports and what else the chart knows. */}}

{{- define "lockgate.advertise" -}}
{{- $ports := .Values.dataPorts -}}
{{- if $ports.addresses -}}
- address: {{ include "lockgate.dataName" (list . "{index}") | quote }}
{{- else if $ports.address -}}
- address: {{ $ports.address | quote }}
{{- else if or $ports.hostIP (and (eq .Values.exposure "NodePort") (eq .Values.dataService.externalTrafficPolicy "Local")) -}}
- address_env: HOST_IP
{{- end -}}
{{- end -}}

{{- define "lockgate.listenerConfig" -}}
{{- $root := index . 0 -}}
{{- $listener := index . 1 -}}
{{- $values := $root.Values -}}
{{- $addresses := list -}}
{{- range $values.listenAddresses -}}
{{- $addresses = append $addresses (include "lockgate.socket" (list . $listener.containerPort)) -}}
{{- end -}}
{{- $config := dict "protocol" $listener.protocol "address" $addresses -}}
{{- if $values.proxyProtocol.networks -}}
{{- $_ := set $config "proxy_protocol" $values.proxyProtocol.networks -}}
{{- end -}}
{{- if eq $listener.protocol "ftp" -}}
{{- $_ := set $config "data_ports" "data" -}}
{{- $mode := default "none" $listener.tls -}}
{{- if ne $mode "none" -}}
{{- $_ := set $config "tls" (dict "mode" $mode "certificate" "/etc/lockgate/tls/tls.crt" "key" "/etc/lockgate/tls/tls.key" "data_sessions" $values.tls.dataSessions) -}}
{{- end -}}
{{- else -}}
{{- $keys := list -}}
{{- range $values.hostKeys.files -}}
{{- $keys = append $keys (printf "/etc/lockgate/host-keys/%s" .) -}}
{{- end -}}
{{- $_ := set $config "host_keys" $keys -}}
{{- end -}}
{{- toYaml (mergeOverwrite $config (deepCopy (default dict $listener.settings))) -}}
{{- end -}}

{{- define "lockgate.config" -}}
{{- $values := .Values -}}
{{- $config := deepCopy $values.config -}}
{{- $listeners := dict -}}
{{- range $name, $listener := fromYaml (include "lockgate.listeners" .) -}}
{{- $_ := set $listeners $name (fromYaml (include "lockgate.listenerConfig" (list $ $listener))) -}}
{{- end -}}
{{- $_ := set $config "listeners" $listeners -}}
{{- if include "lockgate.hasData" . -}}
{{- $first := int $values.dataPorts.first -}}
{{- $last := sub (include "lockgate.firstPort" (list . (int $values.maxReplicas)) | int) 1 -}}
{{- $pool := dict "range" (printf "%d-%d" $first $last) "listen" $values.listenAddresses "client_match" $values.dataPorts.clientMatch -}}
{{- $_ := set $pool "slice" (dict "of" (int $values.maxReplicas) "index_env" "POD_NAME") -}}
{{- with fromYamlArray (include "lockgate.advertise" .) -}}
{{- $_ := set $pool "advertise" . -}}
{{- end -}}
{{- if $values.proxyProtocol.networks -}}
{{- $_ := set $pool "proxy_protocol" $values.proxyProtocol.networks -}}
{{- end -}}
{{- $_ := set $config "data_ports" (dict "data" (mergeOverwrite $pool (deepCopy $values.dataPorts.settings))) -}}
{{- end -}}
{{- $_ := set $config "drain" (dict "accept_for" (printf "%ds" (int $values.preStopSeconds)) "timeout" (printf "%ds" (int $values.drainSeconds))) -}}
{{- $metrics := dict "address" (include "lockgate.socket" (list (first $values.listenAddresses) $values.metrics.port)) -}}
{{- if $values.metrics.readyNeedsBackend -}}
{{- $_ := set $metrics "ready_needs_backend" true -}}
{{- end -}}
{{- with $values.metrics.users -}}
{{- $_ := set $metrics "users" . -}}
{{- end -}}
{{- with $values.metrics.topUsers -}}
{{- $_ := set $metrics "top_users" (int .) -}}
{{- end -}}
{{- $_ := set $config "metrics" $metrics -}}
{{- $admin := dict "socket" "/run/lockgate/admin.sock" -}}
{{- with $values.statusPage -}}
{{- if .enabled -}}
{{- $_ := set $admin "address" (printf "127.0.0.1:%d" (int .port)) -}}
{{- $_ := set $admin "token_file" (printf "/etc/lockgate/admin/%s" .tokenKey) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $config "admin" $admin -}}
{{- if $values.state.enabled -}}
{{- $_ := set $config "state_dir" "/var/lib/lockgate" -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* What a running gateway keeps (src/config/fixed.rs): a change of anything else is read again without a restart. */}}
{{- define "lockgate.fixedConfig" -}}
{{- $config := fromYaml (include "lockgate.config" .) -}}
{{- $fixed := pick $config "audit" "log" "state_dir" -}}
{{- $_ := set $fixed "admin" (pick $config.admin "address" "socket") -}}
{{- $_ := set $fixed "metrics.address" $config.metrics.address -}}
{{- range $name, $pool := $config.data_ports -}}
{{- $_ := set $fixed (printf "data_ports.%s.client_match" $name) $pool.client_match -}}
{{- end -}}
{{- toYaml $fixed -}}
{{- end -}}
