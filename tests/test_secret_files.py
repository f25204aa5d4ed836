"""Every setting that is a secret may be in a file, which a variable with `_FILE` after its name names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from dreamlayer_site.environment import read_secret
from tests.support.installation import ROOT

SETTINGS = (ROOT / "dreamlayer_site/settings.py").read_text()
PAGE = (ROOT / "docs/run/configuration.md").read_text()
VARIABLES = re.findall(r'env\.\w+\(\s*"(\w+)"', SETTINGS)
SECRETS = re.findall(r'env\.secret\("(\w+)"', SETTINGS)
VALUES = {
    "DREAMLAYER_BROKER_URL": "redis://:hidden@redis/0",
    "DREAMLAYER_CHANNEL_URL": "redis://:hidden@redis/1",
    "DREAMLAYER_CONTENT_CREDENTIALS_TIMESTAMP_URL": "https://me:hidden@stamps.example.org",
    "DREAMLAYER_DATABASE_URL": "postgres://me:hidden@database/name",
    "DREAMLAYER_EMAIL_URL": "smtp+tls://me:hidden@mail.example.org:587",
    "DREAMLAYER_FOOOCUS_WEBHOOK_URL": "https://hooks.example.org/hidden",
    "DREAMLAYER_METRICS_TOKEN": "$hidden",
    "DREAMLAYER_SECRET_KEY": "hidden " * 9 + "key",
    "DREAMLAYER_STORAGE_URL": "s3://KEY:hidden@s3/bucket",
}
SHOW = (
    "import json; from django.conf import settings; print(json.dumps({{name: getattr(settings, name) for name in {}}}))"
)


def manage(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DREAMLAYER_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**own, "DREAMLAYER_DATA_DIR": str(folder / "data"), **environment},
        capture_output=True,
        text=True,
    )


def test_every_secret_is_read_from_its_file(tmp_path: Path) -> None:
    files = {}
    for name, value in VALUES.items():
        (tmp_path / name).write_text(f"{value}\n")
        files[f"{name}_FILE"] = str(tmp_path / name)
    names = [name.removeprefix("DREAMLAYER_") for name in VALUES]
    code = SHOW.format(names)
    shown = manage("shell", "--verbosity", "0", "--command", code, folder=tmp_path, **files)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout) == {name.removeprefix("DREAMLAYER_"): value for name, value in VALUES.items()}


def test_no_setting_whose_name_says_secret_is_left_out() -> None:
    open_to_all = {"DREAMLAYER_SITE_URL"}
    named = {name for name in VARIABLES if re.search(r"URL|KEY|TOKEN|SECRET|PASSWORD", name)} - open_to_all
    assert named == set(SECRETS) == VALUES.keys()


def test_the_page_names_every_variable_of_a_file() -> None:
    section = PAGE.partition("## Secrets in files")[2].partition("\n## ")[0]
    assert {name for name in SECRETS if f"`{name}_FILE`" in section} == set(SECRETS)


@pytest.mark.parametrize("command", [("check",), ("serve", "--port", "0")])
def test_a_wrong_file_ends_each_command_with_one_line(command: tuple[str, ...], tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    refused = manage(*command, folder=tmp_path, DREAMLAYER_SECRET_KEY_FILE=missing)
    assert refused.returncode != 0
    assert refused.stderr.splitlines() == [
        f"DREAMLAYER_SECRET_KEY_FILE is “{missing}”, which cannot be read: No such file or directory."
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"hidden\xff", "is no text in UTF-8"),
        (None, "cannot be read: Is a directory"),
    ],
)
def test_an_unusable_file_is_named_and_its_content_is_not(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path
    if content is not None:
        file = tmp_path / "secret"
        file.write_bytes(content)
    with pytest.raises(ImproperlyConfigured) as refused:
        read_secret("DREAMLAYER_DATABASE_URL", {"DREAMLAYER_DATABASE_URL_FILE": str(file)})
    assert str(refused.value) == f"DREAMLAYER_DATABASE_URL_FILE is “{file}”, which {reason}."
    assert refused.value.__cause__ is None or "hidden" not in repr(refused.value.__cause__)


def test_a_value_beside_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hidden")
    both = {"DREAMLAYER_SECRET_KEY": "shown", "DREAMLAYER_SECRET_KEY_FILE": str(file)}
    with pytest.raises(ImproperlyConfigured) as refused:
        read_secret("DREAMLAYER_SECRET_KEY", both)
    assert (
        str(refused.value) == "Both DREAMLAYER_SECRET_KEY and DREAMLAYER_SECRET_KEY_FILE are set: remove one of them."
    )
    assert read_secret("DREAMLAYER_SECRET_KEY", both | {"DREAMLAYER_SECRET_KEY": ""}) == "hidden"
    assert read_secret("DREAMLAYER_SECRET_KEY", both | {"DREAMLAYER_SECRET_KEY_FILE": ""}) == "shown"
