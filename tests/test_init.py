"""`python -m lib init`: Amplify's files or an account's pools in, a `pooltable.toml` that loads out."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from amplify_kit import (
    API,
    OTHER,
    POOL,
    SECRET,
    URL,
    amplify_meta,
    amplify_outputs,
    amplifyconfiguration,
    aws_exports,
    generation_1,
    generation_2,
    local_env_info,
    put,
    team_provider_info,
)
from aws_kit import error, page, scripted_aws
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from lib import amplify, set_up
from lib.cli import main
from lib.config import load

FILE = Path("pooltable.toml")


def init(*arguments: str | Path) -> Result:
    shown = CliRunner().invoke(main, ["init", *map(str, arguments)])
    assert not shown.exception or isinstance(shown.exception, SystemExit), shown.exception
    return shown


def written(project: Path) -> tuple[dict[str, Any], str]:
    """Init from a project; return the environments as they load, and the file's text."""
    shown = init(project)
    assert shown.exit_code == 0, shown.output
    text = FILE.read_text()
    assert SECRET not in text + shown.output
    load()
    return tomllib.loads(text).get("environments", {}), text


def commented(text: str) -> str:
    """The file with what was commented out put in."""
    return "\n".join(line.removeprefix("# ") for line in text.partition("\n\n")[2].splitlines())


@pytest.fixture
def project(home, tmp_path):
    folder = tmp_path / "people"
    folder.mkdir()
    return folder


def test_a_project_of_generation_1_gives_one_environment_per_amplify_env(project):
    environments, text = written(put(project, generation_1()))
    assert environments == {"dev": {"user_pool_id": POOL}}
    assert load().settings("dev").region == "ap-southeast-1"
    assert f'# api_id = "{API}"' in text
    assert f'# graphql_url = "{URL}"' in text
    assert f'# table = "User-{API}-dev"' in text
    assert "# [environments.prod]" in text
    assert "stack amplify-people-prod-90211" in text
    assert "amplify env checkout prod" in text


def test_an_imported_pool_is_known_from_the_teams_file(project):
    files = generation_1() | {"amplify/team-provider-info.json": team_provider_info(imported=OTHER)}
    environments, _ = written(put(project, files))
    assert environments == {"dev": {"user_pool_id": POOL}, "prod": {"user_pool_id": OTHER}}


def test_a_project_of_generation_2_gives_its_pool(project):
    environments, text = written(put(project, generation_2()))
    assert environments == {"people": {"user_pool_id": OTHER}}
    assert '# graphql_url = "https://gen2exampleexample.appsync-api.eu-west-1.amazonaws.com/graphql"' in text


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("src/aws-exports.js", aws_exports()),
        ("src/amplifyconfiguration.json", amplifyconfiguration()),
        ("android/app/src/main/res/raw/amplifyconfiguration.json", amplifyconfiguration()),
        ("lib/amplifyconfiguration.dart", f"const amplifyconfig = ''' {json.dumps(amplifyconfiguration())}''';"),
        ("lib/amplify_outputs.dart", f"const amplifyConfig = r'''{json.dumps(amplify_outputs(POOL))}''';"),
        ("amplify/backend/amplify-meta.json", amplify_meta()),
    ],
)
def test_each_file_alone_is_enough_for_the_pool(project, file, content):
    environments, _ = written(put(project, {file: content}))
    assert [each["user_pool_id"] for each in environments.values()] == [POOL]


def test_the_app_s_file_of_the_checked_out_env_names_it(project):
    files = {
        "src/aws-exports.js": aws_exports(),
        "amplify/.config/local-env-info.json": local_env_info("prod"),
        "amplify/team-provider-info.json": team_provider_info(),
    }
    environments, text = written(put(project, files))
    assert environments == {"prod": {"user_pool_id": POOL}}
    assert "# [environments.dev]" in text


def test_the_stack_tells_whose_the_deployed_facts_are_not_what_is_checked_out(project):
    files = generation_1() | {
        "amplify/#current-cloud-backend/amplify-meta.json": amplify_meta(stack="amplify-people-prod-90211")
    }
    environments, text = written(put(project, files))
    assert environments == {"prod": {"user_pool_id": POOL}}
    assert "# [environments.dev]" in text


def test_what_is_deployed_stands_before_what_is_being_worked_on(project):
    files = generation_1() | {"amplify/backend/amplify-meta.json": amplify_meta(OTHER)}
    assert written(put(project, files))[0] == {"dev": {"user_pool_id": POOL}}


def test_an_app_s_file_of_another_pool_is_an_environment_of_its_own(project):
    files = generation_1() | {"src/aws-exports.js": aws_exports(OTHER), "src/amplifyconfiguration.json": "{}"}
    environments, _ = written(put(project, files))
    assert environments == {"dev": {"user_pool_id": POOL}, "people": {"user_pool_id": OTHER}}


def test_projects_beside_each_other_keep_their_own_environments(project):
    put(project / "one", generation_1())
    put(project / "two", generation_1() | {"amplify/#current-cloud-backend/amplify-meta.json": amplify_meta(OTHER)})
    for file in ("aws-exports.js", "amplifyconfiguration.json"):
        (project / "two" / "src" / file).unlink()
    environments, _ = written(project)
    assert environments == {"dev": {"user_pool_id": POOL}, "dev-2": {"user_pool_id": OTHER}}


def test_the_amplify_folder_itself_may_be_named(project):
    put(project, generation_1())
    assert written(project / "amplify")[0] == {"dev": {"user_pool_id": POOL}}


def test_an_env_called_demo_does_not_become_the_embedded_world(project):
    team = {"demo": team_provider_info()["dev"]}
    files = {"amplify/team-provider-info.json": team, "amplify/backend/amplify-meta.json": amplify_meta()}
    assert written(put(project, files))[0] == {"demo-2": {"user_pool_id": POOL}}


def test_what_stands_commented_out_loads_once_a_pool_is_filled_in(project):
    put(project, generation_1())
    _, text = written(project)
    FILE.write_text(commented(text).replace('user_pool_id = ""', f'user_pool_id = "{OTHER}"').replace('"..."', '"p"'))
    assert load().settings("prod").user_pool_id == OTHER
    assert load().settings("dev").table == f"User-{API}-dev"


def test_a_file_that_is_there_is_never_overwritten(project):
    FILE.write_text("# mine\n")
    shown = init(put(project, generation_1()))
    assert shown.exit_code == 2
    assert "never overwritten" in shown.stderr
    assert FILE.read_text() == "# mine\n"


def test_a_profile_named_is_written(project):
    assert init(put(project, generation_1()), "--profile", 'p"r\\od').exit_code == 0
    assert load().settings("dev").profile == 'p"r\\od'


HOSTILE: dict[str, Any] = {
    "half a file": '{"auth": {"a": {"service": "Cogn',
    "not an object": "[1, 2]",
    "empty": "",
    "deep": '{"auth":' + "[" * 200_000,
    "deep braces": '{"a":' * 50_000,
    "a program": "require('child_process').execSync('touch /tmp/pwned'); module.exports = { pool: process.env.POOL };",
    "other shapes": {"auth": [1], "api": "x", "providers": {"awscloudformation": None}, "aws_user_pools_id": 7},
    "no pool id": {"auth": {"a": {"service": "Cognito", "output": {"UserPoolId": 'x"\n[environments.evil]\n'}}}},
    "binary": "\x00\x01\ufffd",
}


@pytest.mark.parametrize("broken", HOSTILE)
def test_a_broken_file_costs_its_facts_and_nothing_else(project, broken):
    name = "amplify/#current-cloud-backend/amplify-meta.json"
    put(project, {name: HOSTILE[broken], "src/aws-exports.js": aws_exports()})
    environments, _ = written(project)
    assert [each["user_pool_id"] for each in environments.values()] == [POOL]
    assert not Path("/tmp/pwned").exists()


def test_a_file_that_cannot_be_read_is_named(project):
    put(project, {"amplify/backend/amplify-meta.json": "{", "src/aws-exports.js": aws_exports()})
    assert "amplify/backend/amplify-meta.json cannot be read" in init(project).stderr


def test_a_link_out_of_the_project_is_not_followed(project, tmp_path):
    put(tmp_path / "elsewhere", {"aws-exports.js": aws_exports(OTHER)})
    put(project, {"src/amplifyconfiguration.json": amplifyconfiguration()})
    (project / "aws-exports.js").symlink_to(tmp_path / "elsewhere" / "aws-exports.js")
    assert [each["user_pool_id"] for each in written(project)[0].values()] == [POOL]


leaves = (
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([POOL, SECRET, "Cognito", "AppSync", URL])
)
values = leaves | st.lists(leaves, max_size=3) | st.dictionaries(st.text(max_size=20), leaves, max_size=4)
keys = st.sampled_from(["UserPoolId", "StackName", "Region", "GraphQLAPIIdOutput", "GraphQLAPIEndpointOutput"])
output = st.dictionaries(keys, values, max_size=5)
names = st.text(min_size=1, max_size=20) | st.sampled_from(["demo", "dev", SECRET, '"]\n[journal]\nurl="x'])
metas = output.map(lambda found: {"auth": {"a": {"service": "Cognito", "output": found}}, "api": found})
teams = st.dictionaries(names, output.map(lambda found: {"awscloudformation": found}) | values, max_size=4)


@given(metas | values, teams | values, names | values)
def test_whatever_the_files_hold_the_file_loads_and_holds_no_secret(meta, team, name):
    files = {
        "amplify/backend/amplify-meta.json": json.dumps(meta),
        "amplify/team-provider-info.json": json.dumps(team),
        "amplify/.config/local-env-info.json": json.dumps({"envName": name}),
        "src/aws-exports.js": aws_exports(),
    }
    found, _ = amplify.environments(files)
    text = set_up.text(set_up.of_amplify(found, fallback="people"))
    assert SECRET not in text
    content = tomllib.loads(text)
    assert set(content) == {"environments"}
    assert POOL in [each["user_pool_id"] for each in content["environments"].values()]


@given(st.lists(st.tuples(st.text(), st.lists(st.sampled_from(["PreSignUp", "CustomMessage"]))), max_size=5), st.text())
def test_whatever_pools_are_called_the_file_loads(pools, profile):
    facts = [set_up.PoolFacts(f"eu-west-1_{number}", name, tuple(t)) for number, (name, t) in enumerate(pools)]
    text = set_up.text(set_up.of_pools(facts, profile or None))
    environments = tomllib.loads(text).get("environments", {})
    assert [each["user_pool_id"] for each in environments.values()] == [
        each.id for each in facts if each.runs_at_sign_up
    ]


@pytest.fixture
def account(home, monkeypatch):
    with scripted_aws() as fake:
        for name, value in {
            "AWS_ENDPOINT_URL": fake.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
            "AWS_DEFAULT_REGION": "eu-west-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield fake


def listing(*pools: dict[str, Any], **members: str):
    return page(UserPools=list(pools), **members)


PEOPLE = {
    "Id": "eu-west-1_People1",
    "Name": "people dev",
    "LambdaConfig": {"PreSignUp": "arn:aws:lambda:x:1:function:f"},
}
STAFF = {"Id": "eu-west-1_Staff01", "Name": "staff", "LambdaConfig": {"KMSKeyID": "k"}}


def test_without_a_project_the_pools_of_the_account_are_listed(account, project):
    account.script("ListUserPools", listing(STAFF, NextToken="t"), listing(PEOPLE))
    environments, text = written(project)
    assert environments == {"people-dev": {"user_pool_id": "eu-west-1_People1"}}
    assert "calls PreSignUp at sign-up" in text
    assert '# user_pool_id = "eu-west-1_Staff01"' in text
    assert len(account.asked("ListUserPools")) == 2


def test_an_account_without_pools_writes_nothing(account, project):
    account.script("ListUserPools", listing())
    assert init(project).exit_code == 2
    assert not FILE.exists()


def test_without_the_right_to_list_the_action_is_named_and_nothing_is_written(account, project):
    account.script("ListUserPools", error("AccessDeniedException", "no"))
    shown = init(project)
    assert shown.exit_code == 3
    assert "cognito-idp:ListUserPools" in shown.stderr
    assert not FILE.exists()


def test_without_credentials_or_a_region_it_says_what_to_do(project):
    shown = init(project)
    assert shown.exit_code == 2
    assert "--region" in shown.stderr
    shown = init(project, "--region", "eu-west-1", "--profile", "nobody")
    assert shown.exit_code == 2
    assert "nobody" in shown.stderr
    assert not FILE.exists()
