import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.config import Config, is_loopback, load
from lib.model import ConfigError

PROD = '[environments.prod]\nuser_pool_id = "ap-southeast-1_hKnIMMR91"\n'


def loaded(folder: Path, text: str, **environ: str) -> Config:
    (folder / "pooltable.toml").write_text(text)
    return load(environ, folder)


def test_without_a_file_there_is_the_demo_alone_and_it_is_the_default(tmp_path):
    config = load({}, tmp_path)
    assert list(config.environments) == ["demo"]
    assert config.settings().name == "demo"
    assert config.settings().log_days == 60


def test_one_key_makes_an_environment_and_the_rest_has_the_contracts_defaults(tmp_path):
    prod = loaded(tmp_path, PROD).settings()
    assert (prod.name, prod.region, prod.grace_minutes, prod.log_days) == ("prod", "ap-southeast-1", 15, 30)
    assert (prod.max_repairs, prod.max_repair_percent, prod.plan_max_age_minutes) == (1000, 10, 60)
    assert (prod.max_shrink_percent, prod.min_overlap_percent, prod.list_users_rps) == (20, 50, 5)
    assert prod.read_only is None


def test_every_key_of_the_contract_is_taken(tmp_path):
    text = (
        PROD
        + """
        profile = "prod"
        region = "ap-southeast-1"
        endpoint_url = "http://127.0.0.1:4566"
        endpoint_urls = { cognito-idp = "http://127.0.0.1:1", iam = "http://127.0.0.1:2" }
        table = "User-abc-dev"
        log_group = ["/aws/lambda/a", "/aws/lambda/b"]
        graphql_url = "https://x.example.com/graphql"
        api_id = "abc"
        writer = "dynamodb"
        correlation = "owner"
        expects_row = "post_confirmation"
        grace_minutes = 0
        log_days = 7
        list_users_rps = 2
        max_repairs = 10
        max_repair_percent = 100
        max_shrink_percent = 5
        min_overlap_percent = 10
        plan_max_age_minutes = 5
        read_only = false
        [environments.prod.row]
        owner = "{sub}::{username}"
        [journal]
        url = "sqlite:///elsewhere.db"
        [snapshots]
        path = "s3://bucket/prefix"
        keep = 3
    """
    )
    config = loaded(tmp_path, text, POOLTABLE_PROD_API_KEY="da2-secret")
    prod = config.settings("prod")
    assert prod.log_groups == ("/aws/lambda/a", "/aws/lambda/b")
    assert prod.row == {"owner": "{sub}::{username}"}
    assert prod.api_key == "da2-secret"
    assert "da2-secret" not in repr(prod)
    assert (config.journal_url, config.snapshots_path, config.keep) == (
        "sqlite:///elsewhere.db",
        "s3://bucket/prefix",
        3,
    )


def test_one_log_group_may_be_a_plain_name(tmp_path):
    assert loaded(tmp_path, PROD + 'log_group = "/aws/lambda/a"').settings().log_groups == ("/aws/lambda/a",)


def test_the_api_keys_variable_has_underscores_for_other_characters(tmp_path):
    text = PROD.replace("prod", '"eu-west.2"')
    assert loaded(tmp_path, text, POOLTABLE_EU_WEST_2_API_KEY="k").settings("eu-west.2").api_key == "k"


def test_pooltable_home_moves_all_state(tmp_path):
    config = load({"POOLTABLE_HOME": "/elsewhere"}, tmp_path)
    assert config.journal_url == "sqlite:////elsewhere/journal.db"
    assert config.snapshots_path == "/elsewhere/snapshots"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PROD + "grace_minuts = 3", "unknown key 'grace_minuts'. Did you mean 'grace_minutes'?"),
        (PROD + 'grace_minutes = "3"', "grace_minutes must be a number of at least 0, not '3'"),
        (PROD + "grace_minutes = -1", "grace_minutes must be a number of at least 0, not -1"),
        (PROD + "max_repairs = 1.5", "max_repairs must be a whole number of at least 0, not 1.5"),
        (PROD + "max_repairs = true", "max_repairs must be a whole number of at least 0, not True"),
        (PROD + "max_repair_percent = 101", "max_repair_percent must be a number from 0 to 100, not 101"),
        (PROD + 'read_only = "no"', "read_only must be true or false, not 'no'"),
        (PROD + 'correlation = "id"', 'correlation must be "username" or "sub" or "owner" or "email", not \'id\''),
        (PROD + 'writer = "sql"', 'writer must be "appsync" or "dynamodb"'),
        (PROD + 'endpoint_url = "localhost:80"', "endpoint_url must be a URL"),
        (PROD + 'endpoint_urls = { s3 = "http://127.0.0.1:1" }', "endpoint_urls must be a table of service = URL"),
        (PROD + "row = { age = 3 }", "row must be a table of attribute = text"),
        (PROD + "log_group = []", "log_group must be the name of a log group, or a list of them"),
        (PROD + 'region = "eu-west-1"', "region 'eu-west-1' contradicts user_pool_id"),
        ("[environments.prod]\ntable = 'x'", "needs user_pool_id"),
        ("[environments.prod]\nuser_pool_id = 'x'", "user_pool_id must be a user pool id such as"),
        ("[environment.prod]\nuser_pool_id = 'x'", "unknown key 'environment'. Did you mean 'environments'?"),
        ("environments = 3", "environments must be a table"),
        ("[environments]\nprod = 3", "[environments.prod] must be a table"),
        ("[snapshots]\nkeep = 0", "[snapshots] keep must be a whole number of at least 1, not 0"),
        ("[journal]\nurl = ''", "[journal] url must be a database URL"),
        ("[environments.prod\n", "is not valid TOML"),
        ("a = 1\nb = = 2\n", "line 2"),
    ],
)
def test_a_wrong_value_names_the_file_the_key_and_what_was_expected(tmp_path, text, told):
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, text)
    assert told in str(error.value)
    assert "pooltable.toml" in str(error.value)
    assert error.value.exit_code == 2


def test_a_named_file_that_is_missing_is_an_error_and_never_the_demo(tmp_path):
    with pytest.raises(ConfigError, match="POOLTABLE_CONFIG names"):
        load({"POOLTABLE_CONFIG": str(tmp_path / "gone.toml")}, tmp_path)


def test_the_environment_must_be_named_where_several_are_configured(tmp_path):
    config = loaded(tmp_path, PROD + PROD.replace("prod", "dev"))
    with pytest.raises(ConfigError, match="Which environment"):
        config.settings()
    assert config.settings("dev").name == "dev"
    assert config.settings("demo").name == "demo"


def test_a_misspelt_environment_is_answered_with_the_nearest_one(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'prod'"):
        loaded(tmp_path, PROD).settings("prdo")


def test_the_demo_keeps_its_own_pool_but_takes_other_settings(tmp_path):
    demo = loaded(tmp_path, '[environments.demo]\nuser_pool_id = "eu-west-1_abc"\ngrace_minutes = 1').settings("demo")
    assert (demo.user_pool_id, demo.grace_minutes) == ("", 1)


@given(st.binary(max_size=200))
def test_no_content_of_the_file_ends_in_another_error(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("config")
    (folder / "pooltable.toml").write_bytes(content)
    try:
        load({}, folder)
    except ConfigError:
        return
    assert isinstance(tomllib.loads(content.decode()), dict)


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    file = tmp_path / "pooltable.toml"
    file.write_text(PROD)
    file.chmod(0)
    if os.access(file, os.R_OK):  # root reads everything
        return
    with pytest.raises(ConfigError, match="Cannot read"):
        load({}, tmp_path)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:4566", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:8501", True),
        ("http://localhost:1", True),
        ("http://127.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
        ("http://0.0.0.0", False),
        ("https://cognito-idp.eu-west-1.amazonaws.com", False),
        ("http://", False),
    ],
)
def test_only_an_address_of_this_machine_is_this_machine(url, here):
    assert is_loopback(url) is here
