{{/*
What would not work is not rendered. Each check adds a sentence that says what is wrong, why, and what to set;
all are shown at once.
*/}}

{{- define "lockgate.checks" -}}
{{- $problems := list -}}
{{- range list "configuration" "credentials" "ports" "addresses" "source" "provider" "replicas" "rules" -}}
{{- $problems = concat $problems (fromYamlArray (include (printf "lockgate.checks.%s" .) $)) -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values would not work:\n- %s\n" (join "\n- " $problems)) -}}
{{- end -}}
{{- end -}}

{{- define "lockgate.checks.configuration" -}}
{{- $problems := list -}}
{{- $existing := or .Values.existingConfig.secret .Values.existingConfig.configMap -}}
{{- if and .Values.existingConfig.secret .Values.existingConfig.configMap -}}
{{- $problems = append $problems "existingConfig: set secret or configMap, not both" -}}
{{- end -}}
{{- if not $existing -}}
{{- range list "backends" "routes" -}}
{{- if not (index $.Values.config .) -}}
{{- $problems = append $problems (printf "config.%s is empty: the gateway needs a server behind it and a route to it (docs/configuration.md)" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range list "listeners" "data_ports" "metrics" "admin" "state_dir" "drain" -}}
{{- if hasKey $.Values.config . -}}
{{- $problems = append $problems (printf "config.%s is written by the chart, from its own values (listeners, dataPorts, metrics, state, preStopSeconds, drainSeconds); remove it, or give the whole file in existingConfig" .) -}}
{{- end -}}
{{- end -}}
{{- if hasKey (default dict .Values.config.limits) "drain_timeout" -}}
{{- $problems = append $problems "config.limits.drain_timeout is written by the chart: set drainSeconds, from which the grace period of the pods follows, too" -}}
{{- end -}}
{{- if not (fromYaml (include "lockgate.listeners" .)) -}}
{{- $problems = append $problems "no listener is enabled" -}}
{{- end -}}
{{- with .Values.terminationGracePeriodSeconds -}}
{{- if lt (int .) (int (add $.Values.preStopSeconds $.Values.drainSeconds)) -}}
{{- $problems = append $problems (printf "terminationGracePeriodSeconds: %d is shorter than preStopSeconds + drainSeconds: the kubelet would kill transfers that the gateway still waits for" (int .)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "lockgate.checks.credentials" -}}
{{- $problems := list -}}
{{- $tls := fromYamlArray (include "lockgate.tlsListeners" .) -}}
{{- $sftp := fromYamlArray (include "lockgate.listenersOf" (list . "sftp")) -}}
{{- if and .Values.tls.secret .Values.tls.certManager.enabled -}}
{{- $problems = append $problems "tls: set secret or certManager, not both" -}}
{{- end -}}
{{- if and $tls (not (include "lockgate.tlsSecret" .)) -}}
{{- $problems = append $problems (printf "tls.secret is empty, but the listeners with TLS (%s) need a certificate: name a Secret of type kubernetes.io/tls, or enable tls.certManager; the chart creates no keys" (join ", " $tls)) -}}
{{- end -}}
{{- if and .Values.statusPage.enabled (not .Values.statusPage.tokenSecret) -}}
{{- $problems = append $problems "statusPage.tokenSecret is empty: kubectl create secret generic lockgate-admin --from-literal=token=$(openssl rand -hex 32); the chart creates no secrets" -}}
{{- end -}}
{{- if and .Values.tls.certManager.enabled (not (and .Values.tls.certManager.issuerRef.name .Values.tls.certManager.dnsNames)) -}}
{{- $problems = append $problems "tls.certManager needs issuerRef.name and dnsNames" -}}
{{- end -}}
{{- if and $sftp (not (and .Values.hostKeys.secret .Values.hostKeys.files)) -}}
{{- $problems = append $problems (printf "hostKeys.secret is empty, but the SFTP listeners (%s) need host keys, which must survive every upgrade: ssh-keygen -t ed25519 -N '' -f ssh_host_ed25519_key; kubectl create secret generic lockgate-host-keys --from-file=ssh_host_ed25519_key; the chart creates no keys" (join ", " $sftp)) -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "lockgate.checks.ports" -}}
{{- $problems := list -}}
{{- $nodePorts := eq .Values.exposure "NodePort" -}}
{{- $range := .Values.nodePortRange -}}
{{- $first := int .Values.dataPorts.first -}}
{{- $last := sub (include "lockgate.firstPort" (list . (int .Values.maxReplicas)) | int) 1 -}}
{{- $hasData := include "lockgate.hasData" . -}}
{{- $used := dict (toString (int .Values.metrics.port)) "metrics.port" -}}
{{- $published := dict -}}
{{- range $name, $listener := fromYaml (include "lockgate.listeners" .) -}}
{{- $here := printf "listeners.%s" $name -}}
{{- $port := int $listener.containerPort -}}
{{- with get $used (toString $port) -}}
{{- $problems = append $problems (printf "%s.containerPort: %d is %s, too" $here $port .) -}}
{{- end -}}
{{- $_ := set $used (toString $port) (printf "%s.containerPort" $here) -}}
{{- if lt $port 1024 -}}
{{- $problems = append $problems (printf "%s.containerPort: %d needs root, and the pod has none; take one from 1024, and %d as the port of the Service" $here $port $port) -}}
{{- end -}}
{{- if and $hasData (ge $port $first) (le $port $last) -}}
{{- $problems = append $problems (printf "%s.containerPort: %d is one of the data ports %d-%d" $here $port $first $last) -}}
{{- end -}}
{{- $key := ternary "nodePort" "port" $nodePorts -}}
{{- if not (index $listener $key) -}}
{{- $problems = append $problems (printf "%s.%s is missing" $here $key) -}}
{{- else -}}
{{- $outside := int (index $listener $key) -}}
{{- with get $published (toString $outside) -}}
{{- $problems = append $problems (printf "%s.%s: %d is the port of %s, too" $here $key $outside .) -}}
{{- end -}}
{{- $_ := set $published (toString $outside) $here -}}
{{- if and $nodePorts (or (lt $outside (int $range.first)) (gt $outside (int $range.last))) -}}
{{- $problems = append $problems (printf "%s.nodePort: %d is not a node port of the cluster (%d-%d)" $here $outside (int $range.first) (int $range.last)) -}}
{{- end -}}
{{- if and $nodePorts $hasData (ge $outside $first) (le $outside $last) -}}
{{- $problems = append $problems (printf "%s.nodePort: %d is one of the data ports %d-%d" $here $outside $first $last) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $hasData (or (lt $first 1024) (gt $last 65535)) -}}
{{- $problems = append $problems (printf "dataPorts: %d-%d is not within 1024-65535" $first $last) -}}
{{- end -}}
{{- if and $hasData (ge (int .Values.metrics.port) $first) (le (int .Values.metrics.port) $last) -}}
{{- $problems = append $problems (printf "metrics.port: %d is one of the data ports %d-%d" (int .Values.metrics.port) $first $last) -}}
{{- end -}}
{{- if and $hasData $nodePorts (or (lt $first (int $range.first)) (gt $last (int $range.last))) -}}
{{- $problems = append $problems (printf "dataPorts: with exposure NodePort a data port has the same number on the node, and %d-%d is not within the cluster's node ports (%d-%d); set dataPorts.first" $first $last (int $range.first) (int $range.last)) -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "lockgate.checks.addresses" -}}
{{- $problems := list -}}
{{- $ports := .Values.dataPorts -}}
{{- if and $ports.address $ports.addresses -}}
{{- $problems = append $problems "dataPorts: set address or addresses, not both" -}}
{{- end -}}
{{- if and $ports.addresses (ne (len $ports.addresses) (int .Values.maxReplicas)) -}}
{{- $problems = append $problems (printf "dataPorts.addresses has %d addresses; there must be one for each of the %d replicas (maxReplicas)" (len $ports.addresses) (int .Values.maxReplicas)) -}}
{{- end -}}
{{- if and $ports.addresses (not (has .Values.exposure (list "LoadBalancer"))) -}}
{{- $problems = append $problems (printf "dataPorts.addresses are those of load balancers, and exposure is %s: set dataPorts.address" .Values.exposure) -}}
{{- end -}}
{{- if and $ports.hostIP (or $ports.address $ports.addresses) -}}
{{- $problems = append $problems "dataPorts: set hostIP, address or addresses, not two of them" -}}
{{- end -}}
{{- if and $ports.hostIP (ne .Values.exposure "hostNetwork") -}}
{{- $problems = append $problems (printf "dataPorts.hostIP: the data ports are ports of the node only with hostNetwork, and exposure is %s: set dataPorts.address (NodePort with externalTrafficPolicy Local names the node by itself)" .Values.exposure) -}}
{{- end -}}
{{- $needed := and (include "lockgate.hasData" .) (not $ports.address) (not $ports.addresses) (not $ports.settings.advertise) -}}
{{- $existing := or .Values.existingConfig.secret .Values.existingConfig.configMap -}}
{{- if and $needed (not $existing) (ne .Values.exposure "hostNetwork") -}}
{{- $isNode := and (eq .Values.exposure "NodePort") (eq .Values.dataService.externalTrafficPolicy "Local") -}}
{{- $isProxied := and (eq .Values.exposure "Gateway") .Values.proxyProtocol.networks -}}
{{- if not (or $isNode $isProxied) -}}
{{- $problems = append $problems "dataPorts.address is empty: PASV would name the pod's own address, which clients cannot reach. Set it to the address or name of the data Services; if each has its own, to a name with {index} (data-{index}.ftp.example.com), or list them in dataPorts.addresses" -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{/* Whether the pods see the address of the client on the connections through a Service: (list $ service). */}}
{{- define "lockgate.keepsSource" -}}
{{- $values := (index . 0).Values -}}
{{- $service := index . 1 -}}
{{- if eq $values.exposure "hostNetwork" -}}yes
{{- else if eq $values.exposure "Gateway" -}}
{{- if $values.gateway.preservesClientAddress }}yes{{ end -}}
{{- else if and (eq $values.exposure "LoadBalancer") (eq $values.provider "aws-nlb") -}}
{{- $attributes := toString (get $service.annotations "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes") -}}
{{- $type := toString (get $service.annotations "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type") -}}
{{- if contains "preserve_client_ip.enabled=true" $attributes -}}
{{- if or (eq $type "ip") (eq $service.externalTrafficPolicy "Local") }}yes{{ end -}}
{{- else if and (eq $type "instance") (eq $service.externalTrafficPolicy "Local") (not (contains "preserve_client_ip.enabled=false" $attributes)) -}}yes
{{- end -}}
{{- else if eq $service.externalTrafficPolicy "Local" -}}yes
{{- end -}}
{{- end -}}

{{/* Whether an NLB is told to send the PROXY protocol. */}}
{{- define "lockgate.nlbSendsProxy" -}}
{{- $annotations := .annotations -}}
{{- if or (eq (toString (get $annotations "service.beta.kubernetes.io/aws-load-balancer-proxy-protocol")) "*") (contains "proxy_protocol_v2.enabled=true" (toString (get $annotations "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes"))) -}}yes{{ end -}}
{{- end -}}

{{- define "lockgate.checks.source" -}}
{{- $problems := list -}}
{{- $ftp := fromYamlArray (include "lockgate.listenersOf" (list . "ftp")) -}}
{{- $resumed := eq .Values.tls.dataSessions "resumed" -}}
{{- $session := eq .Values.dataPorts.clientMatch "session" -}}
{{- $services := dict "controlService" .Values.controlService -}}
{{- if $ftp -}}{{- $_ := set $services "dataService" .Values.dataService -}}{{- end -}}
{{- $hidden := list -}}
{{- range $name, $service := $services -}}
{{- if not (include "lockgate.keepsSource" (list $ $service)) -}}
{{- $hidden = append $hidden $name -}}
{{- end -}}
{{- end -}}
{{- if and $session $ftp -}}
{{- if not $resumed -}}
{{- $problems = append $problems "dataPorts.clientMatch: session needs tls.dataSessions: resumed, as a data connection is matched by the TLS session that it resumes" -}}
{{- end -}}
{{- range $name, $listener := fromYaml (include "lockgate.listeners" .) -}}
{{- if and (eq $listener.protocol "ftp") (not (has $listener.tls (list "required" "implicit"))) -}}
{{- $problems = append $problems (printf "listeners.%s.tls must be required or implicit with dataPorts.clientMatch: session, as a data connection is matched by the TLS session that it resumes" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $hidden (not .Values.proxyProtocol.networks) -}}
{{- $how := "set externalTrafficPolicy: Local there" -}}
{{- if eq .Values.exposure "Gateway" -}}
{{- $how = "set gateway.preservesClientAddress if your implementation does that" -}}
{{- else if eq .Values.provider "aws-nlb" -}}
{{- $how = "set the annotation service.beta.kubernetes.io/aws-load-balancer-target-group-attributes: preserve_client_ip.enabled=true there" -}}
{{- end -}}
{{- if and $ftp (not (and $session $resumed)) -}}
{{- $problems = append $problems (printf "clients' addresses are not preserved (%s), and no PROXY protocol is used: data connections would not be matched with their sessions, or all clients would look like one. Either %s; or let the load balancer send the PROXY protocol, and name its networks in proxyProtocol.networks; or match by TLS sessions, with dataPorts.clientMatch: session and tls.dataSessions: resumed" (join ", " $hidden) $how) -}}
{{- else if and (has "controlService" $hidden) (not (dig "limits" "sessions_per_address" "" .Values.config)) (not (or .Values.existingConfig.secret .Values.existingConfig.configMap)) -}}
{{- $problems = append $problems (printf "clients' addresses are not preserved (controlService), so all clients look like one and share its 50 sessions: set config.limits.sessions_per_address to what all clients together need; or %s; or use the PROXY protocol" $how) -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "lockgate.checks.provider" -}}
{{- $problems := list -}}
{{- $values := .Values -}}
{{- $listeners := len (fromYaml (include "lockgate.listeners" .)) -}}
{{- $perReplica := ternary (int $values.dataPorts.perReplica) 0 (ne (include "lockgate.hasData" .) "") -}}
{{- $all := add $listeners (mul $perReplica (int $values.maxReplicas)) -}}
{{- $balanced := eq $values.exposure "LoadBalancer" -}}
{{- if eq $values.provider "aws-nlb" -}}
{{- if and $balanced (gt (max $perReplica $listeners) 50) -}}
{{- $problems = append $problems (printf "an NLB has at most 50 listeners, and a Service with %d ports needs as many: reduce dataPorts.perReplica" (max $perReplica $listeners)) -}}
{{- end -}}
{{- if and (eq $values.exposure "Gateway") (gt (int $all) 50) -}}
{{- $problems = append $problems (printf "an NLB has at most 50 listeners, and the Gateway has %d (%d listeners, %d replicas with %d data ports): reduce dataPorts.perReplica or maxReplicas" $all $listeners (int $values.maxReplicas) $perReplica) -}}
{{- end -}}
{{- if and $balanced $values.proxyProtocol.networks -}}
{{- range $name := list "controlService" "dataService" -}}
{{- if not (include "lockgate.nlbSendsProxy" (index $values $name)) -}}
{{- $problems = append $problems (printf "%s: with proxyProtocol.networks every connection must begin with a PROXY header, and the NLB is not told to send it: set the annotation service.beta.kubernetes.io/aws-load-balancer-proxy-protocol: \"*\"" $name) -}}
{{- end -}}
{{- end -}}
{{- else if $balanced -}}
{{- range $name := list "controlService" "dataService" -}}
{{- if include "lockgate.nlbSendsProxy" (index $values $name) -}}
{{- $problems = append $problems (printf "%s: the NLB sends the PROXY protocol, but proxyProtocol.networks is empty: name the NLB's subnets" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $values.provider "gke-external") $balanced (gt $listeners 5) -}}
{{- $problems = append $problems (printf "an external load balancer of GKE with more than 5 ports opens the whole span from the lowest to the highest: the control Service has %d listeners; enable at most 5" $listeners) -}}
{{- end -}}
{{- if and (eq $values.provider "gke-internal") $balanced (gt (max $perReplica $listeners) 5) -}}
{{- $problems = append $problems (printf "an internal load balancer of GKE with more than 5 ports opens all ports, and a Service has %d: set dataPorts.perReplica to at most 5, with tls.dataSessions: resumed where many clients share an address" (max $perReplica $listeners)) -}}
{{- end -}}
{{- if and (eq $values.provider "azure") $balanced (gt (int $all) 1500) -}}
{{- $problems = append $problems (printf "a Standard load balancer of Azure has at most 1500 rules, and the Services need %d (%d listeners, %d replicas with %d data ports): reduce dataPorts.perReplica or maxReplicas" $all $listeners (int $values.maxReplicas) $perReplica) -}}
{{- end -}}
{{- if and (eq $values.provider "metallb") $balanced -}}
{{- $shared := or (hasKey $values.dataService.annotations "metallb.io/allow-shared-ip") (hasKey $values.dataService.annotations "metallb.universe.tf/allow-shared-ip") -}}
{{- if and $shared (eq $values.dataService.externalTrafficPolicy "Local") -}}
{{- $problems = append $problems "dataService: MetalLB shares an address among Services with externalTrafficPolicy: Local only if their selectors are identical, and each data Service selects its own pod: give each its own address (dataPorts.addresses), or set externalTrafficPolicy: Cluster with dataPorts.clientMatch: session and tls.dataSessions: resumed" -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "lockgate.checks.replicas" -}}
{{- $problems := list -}}
{{- $max := int .Values.maxReplicas -}}
{{- if gt (int .Values.replicaCount) $max -}}
{{- $problems = append $problems (printf "replicaCount: %d is more than maxReplicas (%d): the others would have no data ports and not start" (int .Values.replicaCount) $max) -}}
{{- end -}}
{{- if .Values.autoscaling.enabled -}}
{{- if ne (int .Values.autoscaling.maxReplicas) $max -}}
{{- $problems = append $problems (printf "autoscaling.maxReplicas is %d, but maxReplicas, the number of slices of the data ports, is %d: they must be equal" (int .Values.autoscaling.maxReplicas) $max) -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) $max -}}
{{- $problems = append $problems (printf "autoscaling.minReplicas is %d, more than maxReplicas (%d)" (int .Values.autoscaling.minReplicas) $max) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.metrics.podMonitor.enabled .Values.metrics.serviceMonitor.enabled -}}
{{- $problems = append $problems "metrics: enable podMonitor or serviceMonitor, not both, as Prometheus would count everything twice" -}}
{{- end -}}
{{- if and (eq .Values.exposure "Gateway") (not .Values.gateway.className) -}}
{{- $problems = append $problems "gateway.className is empty: name the GatewayClass" -}}
{{- end -}}
{{- if and (eq .Values.exposure "hostNetwork") .Values.networkPolicy.enabled -}}
{{- $problems = append $problems "networkPolicy has no effect on pods with hostNetwork: use the firewall of the nodes, and disable it" -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}

{{- define "lockgate.checks.rules" -}}
{{- $problems := list -}}
{{- $alerts := list -}}
{{- range (fromYaml (.Files.Get "files/rules.yaml")).groups -}}
{{- range .rules -}}
{{- $alerts = append $alerts .alert -}}
{{- end -}}
{{- end -}}
{{- range .Values.metrics.prometheusRule.disabled -}}
{{- if not (has . $alerts) -}}
{{- $problems = append $problems (printf "metrics.prometheusRule.disabled: there is no alert %s in deploy/prometheus/rules.yaml" .) -}}
{{- end -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end -}}
