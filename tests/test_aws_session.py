import logging
import string
import threading
from collections.abc import Iterator
from typing import Any

import botocore.exceptions
import pytest
from aws_kit import HTML, Answer, Hasty, ScriptedAws, error, page, scripted_aws, settings
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from lib.aws import pool
from lib.aws.errors import calling
from lib.aws.session import Aws
from lib.model import AwsError, ConfigError, CredentialsError, NotReadable, PooltableError


@pytest.fixture
def fake() -> Iterator[ScriptedAws]:
    with scripted_aws() as served:
        yield served


def every_subclass(base: type[Exception]) -> set[type[Exception]]:
    return {base}.union(*(every_subclass(each) for each in base.__subclasses__()))


def raised(kind: type[Exception]) -> Exception:
    named = {name: name for _, name, _, _ in string.Formatter().parse(getattr(kind, "fmt", "")) if name}
    return kind(**{**named, "error": "SECRET-in-the-cause", "endpoint_url": "http://h/p"})


BOTOCORES = sorted(every_subclass(BotoCoreError), key=lambda kind: kind.__name__)
LISTED = [
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound", "NoRegionError"),
    *("InvalidRegionError", "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "SSLError"),
    *("ConnectionClosedError", "ParamValidationError", "PaginationError", "CapacityNotAvailableError"),
    *("UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError", "LoginRefreshRequired"),
]


@pytest.mark.parametrize("kind", BOTOCORES, ids=lambda kind: kind.__name__)
def test_every_error_of_botocores_comes_out_as_a_sentence(kind: type[Exception]) -> None:
    with pytest.raises(PooltableError) as caught, calling("read table User", "dynamodb:Scan", "prod"):
        raise raised(kind)
    message = str(caught.value)
    assert message.startswith("Cannot read table User: ")
    assert message.endswith(".")
    assert "\n" not in message
    assert caught.value.__suppress_context__
    assert isinstance(caught.value, AwsError | ConfigError)


def test_all_errors_named_in_the_facts_were_among_them() -> None:
    assert {kind.__name__ for kind in BOTOCORES} >= set(LISTED)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("NoCredentialsError", CredentialsError, "Choose a profile (in pooltable.toml: `profile`)"),
        ("PartialCredentialsError", CredentialsError, "Choose a profile"),
        ("UnauthorizedSSOTokenError", CredentialsError, "`aws sso login --profile prod`"),
        ("SSOTokenLoadError", CredentialsError, "`aws sso login --profile prod`"),
        ("TokenRetrievalError", CredentialsError, "`aws sso login --profile prod`"),
        ("LoginRefreshRequired", CredentialsError, "`aws login --profile prod`"),
        ("ProfileNotFound", ConfigError, "Correct pooltable.toml or the AWS configuration"),
        ("NoRegionError", ConfigError, "Correct pooltable.toml or the AWS configuration"),
        ("ReadTimeoutError", AwsError, "Check the network and the endpoint"),
    ],
)
def test_an_error_that_an_operator_can_mend_says_how(name: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as caught, calling("read it", "a:B", "prod"):
        raise raised(getattr(botocore.exceptions, name))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "name", ["ReadTimeoutError", "ConnectionClosedError", "EndpointConnectionError", "HTTPClientError"]
)
def test_a_call_without_an_answer_may_have_been_done(name: str) -> None:
    with pytest.raises(AwsError) as caught, calling("write it", "a:B"):
        raise raised(getattr(botocore.exceptions, name))
    assert caught.value.maybe_done


@pytest.mark.parametrize("name", ["NoCredentialsError", "ParamValidationError", "UnauthorizedSSOTokenError"])
def test_a_call_that_was_never_sent_was_not_done(name: str) -> None:
    with pytest.raises(AwsError) as caught, calling("write it", "a:B"):
        raise raised(getattr(botocore.exceptions, name))
    assert not caught.value.maybe_done


def answered(code: str, status: int = 400, message: str = "why", **metadata: Any) -> ClientError:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "r1", **metadata},
    }
    return ClientError(response, "Op")


def converted(error: Exception) -> AwsError:
    with pytest.raises(AwsError) as caught, calling("read table User", "dynamodb:Scan", "prod"):
        raise error
    return caught.value


@pytest.mark.parametrize(
    "code",
    [
        *("ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId"),
        *("InvalidSignatureException", "SignatureDoesNotMatch", "MissingAuthenticationTokenException"),
    ],
)
def test_refused_credentials_stop_everything_and_quote_nothing(code: str) -> None:
    found = converted(answered(code, 403, "The Canonical String ... x-amz-security-token:SECRET"))
    assert isinstance(found, CredentialsError)
    assert "SECRET" not in str(found)
    assert not found.maybe_done


@pytest.mark.parametrize(
    ("found", "said", "maybe_done"),
    [
        (answered("AccessDeniedException"), "The role needs dynamodb:Scan on it (see: python -m lib policy)", False),
        (answered("403", 403), "The role needs dynamodb:Scan", False),
        (answered("ThrottlingException"), "fewer requests", False),
        (answered("ThrottlingException", RetryAttempts=2), "fewer requests", True),
        (answered("InternalServerError", 500), "the service failed (500 InternalServerError)", True),
        (answered("503", 503, HTML.decode()), "the service failed (503 503)", True),
        (
            answered("ValidationException", message="for a@x.io \x1b[31m"),
            "ValidationException: for •••@x.io \\x1b[31m",
            False,
        ),
        (answered("Strange", message="key da2-abcdefghijkl"), "Strange: key (secret)", False),
        (answered("Strange", message="x" * 5000), "Strange: xxx", False),
        (answered("Strange", message=""), "no reason given", False),
        (ClientError({}, "Op"), "Unknown", False),
        (ResponseParserError("<html>"), "what answered is not AWS", True),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), "what answered is not AWS", True),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_aws_answers_becomes_one_short_harmless_sentence(found: Exception, said: str, maybe_done: bool) -> None:
    error = converted(found)
    assert said in str(error)
    assert len(str(error)) < 500
    assert error.maybe_done == maybe_done
    assert error.action == "dynamodb:Scan"


def test_errors_of_our_own_pass_unchanged() -> None:
    with pytest.raises(NotReadable, match="mine"), calling("read it", "a:B"):
        raise NotReadable("mine")


def test_reads_and_writes_have_their_own_retries_time_outs_and_pools() -> None:
    aws = Aws(settings("http://127.0.0.1:1"))
    read, write = aws.client("dynamodb").meta.config, aws.writer("dynamodb").meta.config
    assert (read.retries["mode"], read.retries["total_max_attempts"]) == ("adaptive", 8)
    assert (write.retries["mode"], write.retries["total_max_attempts"]) == ("standard", 3)
    assert (read.connect_timeout, read.read_timeout) == (3, 20)
    assert read.max_pool_connections >= 4
    assert aws.client("dynamodb") is aws.client("dynamodb")


def test_threads_that_ask_at_once_share_one_client() -> None:
    aws = Aws(settings("http://127.0.0.1:1"))
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(aws.client("dynamodb"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(client) for client in found}) == 1


def test_the_region_is_the_pools_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")
    aws = Aws(settings("http://127.0.0.1:1", credentials=None))
    assert aws.region == aws.client("dynamodb").meta.region_name == "eu-west-1"


def test_the_more_specific_endpoint_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:4")
    both = settings("http://127.0.0.1:1", endpoint_urls={"dynamodb": "http://127.0.0.1:2"})
    assert Aws(both).endpoint("dynamodb") == "http://127.0.0.1:2"
    assert Aws(both).client("dynamodb").meta.endpoint_url == "http://127.0.0.1:2"
    assert Aws(both).endpoint("logs") == "http://127.0.0.1:1"
    none = settings("http://127.0.0.1:1", endpoint_url=None, credentials=None)
    assert Aws(none).endpoint("dynamodb") == "http://127.0.0.1:4"
    assert Aws(none).endpoint("logs") == "https://logs.eu-west-1.amazonaws.com"


def test_a_mix_of_this_machine_and_aws_is_refused() -> None:
    assert Aws(settings("http://127.0.0.1:1")).on_loopback()
    assert not Aws(settings("http://x", endpoint_url=None, credentials=None)).on_loopback()
    mixed = settings("http://x", endpoint_url=None, endpoint_urls={"dynamodb": "http://localhost:1"}, credentials=None)
    with pytest.raises(ConfigError, match=r"test mixes this machine \(dynamodb\) with AWS"):
        Aws(mixed).on_loopback()
    with pytest.raises(ConfigError, match="mixes"):
        Aws(settings("http://127.0.0.1:1")).on_loopback("https://x.appsync-api.eu-west-1.amazonaws.com/graphql")


def test_the_embedded_world_ignores_the_users_own_aws_configuration_and_proxy(
    fake: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    fake.script("ListUsers", page(Users=[{"Username": "a"}]))
    assert pool.read_accounts(Aws(settings(fake.url))).source.complete
    assert "Credential=AKIDEXAMPLE/" in fake.headers[0]["authorization"]


def test_a_missing_profile_is_a_matter_of_configuration() -> None:
    aws = Aws(settings("http://127.0.0.1:1", credentials=None, profile="nope"))
    with pytest.raises(ConfigError, match="nope"):
        pool.read_accounts(aws)


def test_no_credentials_is_an_incomplete_read_with_help(fake: ScriptedAws) -> None:
    read = pool.read_accounts(Aws(settings(fake.url, credentials=None)))
    assert not read.source.complete
    assert "there are no usable AWS credentials (NoCredentialsError). Choose a profile" in str(read.source.why_not)
    assert not fake.requests


def test_nothing_secret_is_logged_or_shown(fake: ScriptedAws, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fake.script("ListUsers", error("AccessDeniedException"))
    aws = Aws(settings(fake.url))
    shown = f"{pool.read_accounts(aws).source} {aws.settings} {caplog.text}"
    assert "wJalrXUtnFEMI" not in shown


def test_the_caller_is_named_by_its_arn(fake: ScriptedAws) -> None:
    aws = Hasty(settings(fake.url))
    arn = "arn:aws:sts::1:assumed-role/r/s"
    body = f"<R><GetCallerIdentityResult><Arn>{arn}</Arn></GetCallerIdentityResult></R>"
    fake.script("POST /", Answer(body.encode()), Answer(HTML.replace(b"</body>", b"")))
    assert aws.identity() == arn
    with pytest.raises(AwsError, match="Cannot ask AWS who is calling: what answered is not AWS"):
        aws.identity()
