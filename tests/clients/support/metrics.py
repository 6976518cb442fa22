"""What a server says at `/_/metrics`."""

from prometheus_client.parser import text_string_to_metric_families


def samples(server):
    """All samples: each has a name, labels and a value."""
    families = text_string_to_metric_families(server.get("/_/metrics").read().decode())
    return [sample for family in families for sample in family.samples]
