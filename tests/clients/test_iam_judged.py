"""What IAM and STS judge a request by: members that the operation has, and no others; the tags that it gives; what it may cost."""

import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config

from support.calls import refused
from support.identities import allow, document, trust

# Requests as they are, whatever the client's model asks for.
UNCHECKED = Config(parameter_validation=False)


@pytest.fixture(scope="module")
def server(two_account_server):
    return two_account_server()


@pytest.fixture(scope="module")
def iam(server):
    return server.client("iam", config=UNCHECKED)


def with_more(client, **members):
    """`client`, which adds these members to all of its requests."""
    client.meta.events.register("before-call", lambda params, **_: params["body"].update(members))
    return client


def test_names_without_end_are_refused(server):
    """By a client without credentials."""
    form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&PolicyArns" + ".a" * 400_000
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = requests.post(server.url, data=f"{form}=x", headers=headers, verify=server.ca, timeout=60)
    assert answer.status_code == 400 and "<Code>MalformedQueryString</Code>" in answer.text
    server.client("sts").get_caller_identity()
