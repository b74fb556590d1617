"""The user pools that somebody's credentials can see, to choose one from, and where the AWS CLI keeps credentials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3

from lib.aws import errors
from lib.aws.session import Aws
from lib.config import Settings
from lib.model import ConfigError

SIGN_UP_TRIGGERS = ("PreSignUp", "PostConfirmation")


@dataclass(frozen=True)
class PoolFacts:
    """One user pool, and the names of the triggers that it calls."""

    id: str
    name: str
    triggers: tuple[str, ...]

    @property
    def runs_at_sign_up(self) -> bool:
        """Whether it calls something that can write a row for who signs up."""
        return any(trigger in self.triggers for trigger in SIGN_UP_TRIGGERS)


def account(region: str | None = None, profile: str | None = None) -> Aws:
    """Return a profile's account in one region, no pool chosen yet.

    Without a profile boto3's own chain gives the credentials, and the region where none is named.
    """
    return Aws(Settings(name="", user_pool_id="", region=region or usual_region(profile), profile=profile))


def listed(aws: Aws) -> list[PoolFacts]:
    """Return every user pool of the account and region, those that run something at sign-up first."""
    with aws.calling(f"list the user pools in {aws.region}", action="cognito-idp:ListUserPools"):
        pages = aws.client("cognito-idp").get_paginator("list_user_pools").paginate(PaginationConfig={"PageSize": 60})
        found = [_facts(each) for page in pages for each in page["UserPools"]]
    return sorted(found, key=lambda pool: (not pool.runs_at_sign_up, pool.name))


def profiles() -> list[str]:
    """Return the names of the profiles that the AWS CLI knows here."""
    with errors.calling("read the AWS configuration", ""):
        return list(boto3.Session().available_profiles)


def regions() -> list[str]:
    """Return the regions that Cognito is known to be in."""
    return sorted(boto3.Session(aws_access_key_id="", aws_secret_access_key="").get_available_regions("cognito-idp"))


def usual_region(profile: str | None = None) -> str:
    """Return the region that a profile, or the environment, is set to; raise ``ConfigError`` where it is to none."""
    with errors.calling("read the AWS configuration", "", profile):
        found = boto3.Session(profile_name=profile).region_name
    if not found:
        raise ConfigError(
            "Which region? Name one with --region, or set AWS_DEFAULT_REGION or the profile's region, as for the "
            "AWS CLI."
        )
    return str(found)


def _facts(pool: Mapping[str, Any]) -> PoolFacts:
    triggers = (name for name, value in (pool.get("LambdaConfig") or {}).items() if value and name != "KMSKeyID")
    return PoolFacts(pool["Id"], str(pool.get("Name") or ""), tuple(triggers))
