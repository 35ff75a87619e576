"""cluster.yaml, cluster-local.yaml and what they put on the nodes."""
