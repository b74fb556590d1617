"""botocore's errors, converted once, here: what failed, on what, what to do. Never a secret, never a raw error."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as raw
from botocore.parsers import ResponseParserError

from lib.display import mask_emails, visible
from lib.model import AwsError, ConfigError, CredentialsError

_SETUP = "Choose a profile (in pooltable.toml: `profile`), or give AWS credentials the way the AWS CLI takes them"

_CONFIGURATION = (
    raw.ProfileNotFound,
    raw.ConfigParseError,
    raw.ConfigNotFound,
    raw.InvalidConfigError,
    raw.BaseEndpointResolverError,
    raw.EndpointProviderError,
    raw.InvalidEndpointConfigurationError,
    raw.InvalidRegionError,
    raw.UnknownRegionError,
    raw.InvalidRetryConfigurationError,
    raw.InvalidSTSRegionalEndpointsConfigError,
    raw.InvalidProxiesConfigError,
    raw.InvalidDefaultsMode,
    raw.InvalidChecksumConfigError,
    raw.InvalidIMDSEndpointError,
    raw.InvalidIMDSEndpointModeError,
)
_SSO = (raw.SSOError, raw.TokenRetrievalError, raw.UnknownTokenProviderError)
_CREDENTIALS = (
    raw.NoCredentialsError,
    raw.PartialCredentialsError,
    raw.CredentialRetrievalError,
    raw.UnknownCredentialError,
    raw.NoAuthTokenError,
    raw.MetadataRetrievalError,
    raw.RefreshWithMFAUnsupportedError,
    raw.MissingDependencyException,
)
_CONNECTION = (
    raw.ConnectionError,
    raw.HTTPClientError,
    raw.IncompleteReadError,
    raw.ChecksumError,
    raw.FlexibleChecksumError,
)

_SIGN_IN_CODES = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "AuthFailure",
}
# moto answers a denied action with the bare code "403".
_DENIED_CODES = {
    "AccessDenied",
    "AccessDeniedException",
    "NotAuthorizedException",
    "UnauthorizedException",
    "UnauthorizedOperation",
    "403",
}
_THROTTLED_CODES = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "429",
}
_MISSING_CODES = {"ResourceNotFoundException", "NotFoundException", "ResourceNotFound", "404"}

# Keys of AppSync look like this; AWS's own texts should hold none, but they are not ours.
_SECRET = re.compile(r"\bda2-\w+|\b(?:AKIA|ASIA)\w{12,}")


@contextmanager
def calling(doing: str, action: str, profile: str | None = None) -> Iterator[None]:
    """Convert every error of the one botocore call inside to an ``AwsError`` (or ``ConfigError``).

    The raw error is not chained: its text may quote a signed request, the session token among it.
    ``doing`` completes "Cannot ...", with the name of what it is done on; ``action`` is the IAM action it needs.
    """
    try:
        yield
    except raw.ClientError as error:
        raise _answered(error, doing, action, profile) from None
    except raw.BotoCoreError as error:
        raise _unanswered(error, doing, action, profile) from None
    except (ResponseParserError, ValueError, TypeError, AttributeError, KeyError):
        # botocore's parsers raise these on an answer of another shape than promised (a proxy's page, half a body).
        raise AwsError(
            f"Cannot {doing}: what answered is not AWS as it should be. Check the endpoint and any proxy on the way.",
            action=action,
            code="UnreadableAnswer",
            maybe_done=True,
        ) from None


def is_denied(error: AwsError) -> bool:
    """Return whether IAM refused the call."""
    return error.code in _DENIED_CODES


def is_throttled(error: AwsError) -> bool:
    """Return whether AWS asks for fewer requests."""
    return error.code in _THROTTLED_CODES


def quoted(text: object) -> str:
    """Return what AWS said in a form fit for one line of a message: short, visible, without e-mails and keys."""
    return _SECRET.sub("(secret)", mask_emails(visible(str(text))))[:300].rstrip(". ")


def _answered(error: raw.ClientError, doing: str, action: str, profile: str | None) -> AwsError:
    answer: dict[str, Any] = error.response
    code = str(answer.get("Error", {}).get("Code") or "Unknown")
    metadata = answer.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode") or 0)
    kind = CredentialsError if code in _SIGN_IN_CODES else AwsError
    return kind(
        f"Cannot {doing}: {_advice(code, status, str(answer.get('Error', {}).get('Message') or ''), action, profile)}.",
        action=action,
        code=code,
        request_id=str(metadata.get("RequestId") or ""),
        # A retried write may have been done by an attempt whose answer was lost.
        maybe_done=status >= 500 or bool(metadata.get("RetryAttempts")),
        item=answer.get("Item"),
    )


def _advice(code: str, status: int, message: str, action: str, profile: str | None) -> str:
    if code in _SIGN_IN_CODES:
        return _sign_in_advice(code, profile)
    if code in _DENIED_CODES or (status == 403 and code not in _THROTTLED_CODES):
        return f"{code}. The role needs {action} on it (see: python -m lib policy)"
    if code in _THROTTLED_CODES:
        return f"AWS asks for fewer requests ({code}), also after retries. Try again in a few minutes"
    if code in _MISSING_CODES:
        return f"it does not exist in this account and region ({code}). Check its name, the region and the profile"
    if code == "ConditionalCheckFailedException":
        return f"it is not as it was when it was read ({code}). Refresh, then plan again"
    if status >= 500:
        return f"the service failed ({status} {quoted(code)}), also after retries. Try again in a few minutes"
    return f"{quoted(code)}: {quoted(message) or 'no reason given'}"


def _sign_in_advice(code: str, profile: str | None) -> str:
    # The texts of these errors can quote signed headers, the session token among them: leave them out.
    if code in ("InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired"):
        return f"AWS refuses the signature ({code}). Check this machine's clock, then the credentials"
    expired = code in ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired")
    said = "the credentials have expired" if expired else f"AWS does not accept the credentials ({code})"
    return f"{said}. Sign in again, such as with `aws sso login{_of(profile)}`"


def _unanswered(error: raw.BotoCoreError, doing: str, action: str, profile: str | None) -> AwsError | ConfigError:
    name = type(error).__name__
    if isinstance(error, _CONFIGURATION):
        return ConfigError(f"Cannot {doing}: {quoted(error)}. Correct pooltable.toml or the AWS configuration.")
    if isinstance(error, _SSO):
        reason = f"the sign-in has expired or is missing. Run `aws sso login{_of(profile)}`"
        return CredentialsError(f"Cannot {doing}: {reason}.", action=action, code=name)
    if isinstance(error, raw.LoginError):
        reason = f"the sign-in has expired or is missing. Run `aws login{_of(profile)}`"
        return CredentialsError(f"Cannot {doing}: {reason}.", action=action, code=name)
    if isinstance(error, _CREDENTIALS):
        reason = f"there are no usable AWS credentials ({name}). {_SETUP}"
        return CredentialsError(f"Cannot {doing}: {reason}.", action=action, code=name)
    if isinstance(error, _CONNECTION):
        reason = f"no answer from {_host(error)} ({name}), also after retries. Check the network and the endpoint"
        # Even a refused connection may be the retry of an attempt that did reach the service.
        return AwsError(f"Cannot {doing}: {reason}.", action=action, code=name, maybe_done=True)
    return AwsError(f"Cannot {doing}: {name}: {quoted(error)}.", action=action, code=name)


def _of(profile: str | None) -> str:
    return f" --profile {profile}" if profile else ""


def _host(error: raw.BotoCoreError) -> str:
    url = str(error.kwargs.get("endpoint_url") or "")
    return "/".join(url.split("/", 3)[:3]) or "the service"
