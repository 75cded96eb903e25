"""Values beside the examples, so that every value is rendered and validated: a name, the example that they change, and
the values. At the end, changes of metallb.yaml between two upgrades."""

MANY = {
    "image": {"repository": "registry.example.com/lockgate", "digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "fullnameOverride": "ftp-gateway",
    "listenAddresses": ["0.0.0.0", "::"],
    "ipFamilyPolicy": "PreferDualStack",
    "ipFamilies": ["IPv4", "IPv6"],
    "listeners": {
        "partners": {"protocol": "sftp", "port": 2022, "containerPort": 2022, "settings": {"channels": 4, "algorithms": "strict"}},
        "ftps": None,
    },
    "hostKeys": {"files": ["ssh_host_ed25519_key", "ssh_host_rsa_key"]},
    "dataPorts": {"settings": {"wait": "3s", "reservations_per_address": 10}},
    "controlService": {"loadBalancerClass": "example.com/balancer", "loadBalancerSourceRanges": ["198.51.100.0/24"]},
    "dataService": {"loadBalancerSourceRanges": ["198.51.100.0/24"]},
    "files": [{"configMap": "partners-ca", "path": "/etc/lockgate/ca"}],
    "env": [{"name": "TZ", "value": "Europe/Berlin"}],
    "envFrom": [{"secretRef": {"name": "passwords"}}],
    "volumes": [{"name": "exchange", "persistentVolumeClaim": {"claimName": "exchange"}}],
    "volumeMounts": [{"name": "exchange", "mountPath": "/srv/exchange"}],
    "config": {"policy": {"limits": [{"name": "daily", "bytes_per_day": "1GiB"}]}},
    "state": {"enabled": True, "size": "1Gi", "storageClass": "fast"},
    "metrics": {"port": 9100, "users": ["acme"], "topUsers": 5, "podMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}}},
    "networkPolicy": {
        "enabled": True,
        "metrics": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"protocol": "TCP", "port": 22}]}],
    },
    "statusPage": {"enabled": True, "port": 9700, "tokenSecret": "admin", "tokenKey": "admin.token"},
    "podDisruptionBudget": {"maxUnavailable": "34%"},
    "serviceAccount": {"name": "gateway", "annotations": {"example.com/role": "ftp"}},
    "podAnnotations": {"example.com/note": "true"},
    "podLabels": {"team": "network"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "edge", "operator": "Exists"}]}]}}},
    "priorityClassName": "system-cluster-critical",
    "topologySpreadConstraints": [],
    "terminationGracePeriodSeconds": 600,
}

VARIATIONS = [
    ("many values", "metallb", MANY),
    ("few values", "nodeport", {
        "podDisruptionBudget": {"enabled": False}, "serviceAccount": {"create": False}, "resources": None,
        "networkPolicy": {"enabled": False}, "preStopSeconds": 10,
    }),
    ("SFTP only: no data ports", "metallb", {
        "listeners": {"ftp": {"enabled": False}, "ftps": {"enabled": False}}, "tls": {"secret": ""},
        "dataPorts": {"addresses": None}, "networkPolicy": {"enabled": True},
    }),
    ("an NLB that preserves addresses", "eks-nlb", {
        "proxyProtocol": {"networks": []},
        "controlService": {"annotations": {
            "service.beta.kubernetes.io/aws-load-balancer-proxy-protocol": "",
            "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes": "preserve_client_ip.enabled=true"}},
        "dataService": {"annotations": {
            "service.beta.kubernetes.io/aws-load-balancer-proxy-protocol": "",
            "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes": "preserve_client_ip.enabled=true"}},
    }),
    ("a ServiceMonitor", "metallb", {
        "metrics": {"serviceMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}}},
    }),
    ("rules and a dashboard with labels", "nodeport", {
        "fullnameOverride": "ftp-gateway",
        "metrics": {"serviceMonitor": {"enabled": True},
                    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
                    "dashboard": {"enabled": True, "labels": {"team": "network"}}},
    }),
    ("hostNetwork behind a shared address", "host-network", {"dataPorts": {"hostIP": True}}),
    ("an autoscaler up to the last slice", "nodeport", {
        "replicaCount": 2, "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 4},
    }),
    ("a Gateway that preserves addresses", "gateway-api", {
        "proxyProtocol": {"networks": []}, "gateway": {"preservesClientAddress": True}, "maxReplicas": 12,
    }),
]

EXISTING = [
    ("a Secret", {"existingConfig": {"secret": "my-config", "key": "gateway.yaml", "revision": "7"}}, "secret", "my-config"),
    ("a ConfigMap", {"existingConfig": {"configMap": "my-config", "key": "gateway.yaml"}}, "configMap", "my-config"),
]

# What running pods read by themselves.
RELOADED = [
    ("a route and its server", {"config": {
        "backends": {"archive": {"protocol": "sftp", "address": "archive.internal:22",
                                 "host_key": "SHA256:" + "A" * 42 + "E"}},
        "routes": [{"authenticate": "backend", "backend": "archive"}]}}),
    ("a user", {"config": {"users": {"acme": {"authorized_keys": "/etc/lockgate/logins/acme.keys"}}}}),
    ("the policy and limits", {"config": {"policy": {"limits": [{"name": "daily", "bytes_per_day": "1GiB"}]},
                                          "limits": {"sessions": 100}}}),
    ("a listener's greeting", {"listeners": {"ftp": {"settings": {"greeting": "closed on Sunday"}}}}),
    ("TLS", {"tls": {"dataSessions": "resumed"}}),
    ("more data ports", {"dataPorts": {"perReplica": 20, "settings": {"wait": "3s"}}}),
    ("users with metrics", {"metrics": {"users": ["acme"], "topUsers": 5}}),
    ("readiness", {"metrics": {"readyNeedsBackend": True}}),
    ("the PROXY protocol", {"proxyProtocol": {"networks": ["10.0.0.0/8"]}}),
]

# What takes a restart.
RESTARTED = [
    ("the audit", {"config": {"audit": {"stdout": True}}}),
    ("the log", {"config": {"log": {"level": "debug"}}}),
    ("the port of the metrics", {"metrics": {"port": 9100}}),
    ("the state", {"state": {"enabled": True}}),
    ("client_match", {"dataPorts": {"clientMatch": "network"}}),
    ("client_match in settings", {"dataPorts": {"settings": {"client_match": "network"}}}),
]
