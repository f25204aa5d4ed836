"""The page of models: only for administrators, with size and licence before a download."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.template.defaultfilters import filesizeformat
from django.test import Client
from django.utils import timezone

from accounts.models import User
from inpainting.catalog.inspection.files import ModelRefused
from inpainting.catalog.inspection.formats.gguf_header import read_gguf_header
from inpainting.catalog.inspection.known_files import IT, refuse_known
from inpainting.catalog.shipped import SHIPPED
from inpainting.catalog.shipped_recommendations import Machine
from inpainting.catalog.shipped_weights import UNTRIED, WEIGHTS_RUNS
from inpainting.catalog.specs import Source
from inpainting.core.sentences import sentence
from inpainting.families.flux.files import FluxFile
from inpainting.models import InferenceModel, Lora, ModelState
from inpainting.networks import interrupted_loads
from inpainting.networks.files import fingerprint
from inpainting.web import recommended_models
from tests.support.hub import tiny_model, written

GB = 2**30


@pytest.fixture
def administrator(client: Client, db: None) -> User:
    administrator = User.objects.create_superuser("boss@example.com", "a long one")
    client.force_login(administrator)
    return administrator


@pytest.fixture
def installed(administrator: User, settings: Any, tmp_path: Path) -> InferenceModel:
    settings.MODELS_DIR = tmp_path
    model = InferenceModel.objects.get(slug="sd15")
    written(tiny_model(), tmp_path / "sd15")
    assert model.start_pull()
    assert model.install(Source.HUB)
    return model


def test_every_model_is_listed_with_size_and_licence(client: Client, administrator: User) -> None:
    page = client.get("/models/").content.decode()
    for spec in SHIPPED:
        assert spec.label in page
        assert spec.licence_url in page
        assert f'action="/models/{spec.slug}/pull/"' in page
        assert filesizeformat(spec.size_bytes or 0) in page
    assert "CreativeML OpenRAIL-M" in page
    assert 'href="/models/"' in client.get("/").content.decode()


def test_other_users_see_what_they_can_do_and_change_nothing(client: Client, alice: User) -> None:
    client.force_login(alice)
    page = client.get("/models/").content.decode()
    assert "What you can do here" in page
    assert "Nothing here reads a prompt yet." in page
    for hidden in ("/pull/", "/switch/", "All models", "Chroma1-HD", "of memory"):
        assert hidden not in page
    assert 'href="/models/"' not in client.get("/").content.decode()
    for action in ("pull", "remove", "switch"):
        assert client.post(f"/models/sd15/{action}/").status_code == 404
    assert InferenceModel.objects.get(slug="sd15").state == ModelState.NOT_INSTALLED
    assert "/pull/" not in client.get("/welcome/").content.decode()


def test_the_page_begins_with_one_recommendation_for_each_job(
    client: Client, administrator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recommended_models, "own_machine", lambda: Machine(16 * GB))
    page = client.get("/models/").content.decode()
    top, _, catalog = page.partition('<details class="all-models">')
    assert catalog, "the catalog is folded"
    assert re.findall(r"<h3>(.+?)</h3>", top) == ["LaMa", "Stable Diffusion 1.5 inpainting", "MobileSAM"]
    assert top.count("not measured") == 2
    assert "about 4 minutes on two CPU cores" in top
    assert "16 GB of memory, no NVIDIA GPU" in top
    assert "data-confirm" not in top, "one click gets it"
    for slug in ("lama", "sd15-inpainting", "mobile-sam"):
        assert f'action="/models/{slug}/pull/"' in top
        assert f'action="/models/{slug}/pull/"' in client.get("/welcome/").content.decode()
    larger = client.get("/models/", {"machine": "gpu24"}).content.decode().partition("All models")[0]
    assert re.findall(r"<h3>(.+?)</h3>", larger) == ["LaMa", "SDXL inpainting 0.1", "SAM 2.1 tiny"]
    unknown = client.get("/models/", {"machine": "gpu9000"}).content.decode()
    assert "Stable Diffusion 1.5 inpainting" in unknown.partition("All models")[0]


def test_a_recommended_model_is_shown_with_its_example_where_there_is_one(
    client: Client, administrator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for memory, examples in ((GB, ["migan"]), (16 * GB, [])):
        monkeypatch.setattr(recommended_models, "own_machine", lambda memory=memory: Machine(memory))
        for address in ("/models/", "/welcome/"):
            page = client.get(address).content.decode()
            shown = re.findall(r'<img src="/static/img/examples/(\w+)-(before|after)[.\w]*\.webp" alt="(.*?)"', page)
            words = "A man films on a lawn; the tripod of the camera is removed."
            assert shown == [(slug, *image) for slug in examples for image in (("before", words), ("after", ""))]


def test_a_recommended_model_that_is_on_its_way_leaves_the_catalog_folded(
    client: Client, administrator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recommended_models, "own_machine", lambda: Machine(16 * GB))
    InferenceModel.objects.get(slug="lama").start_pull()
    page = client.get("/models/").content.decode()
    assert '<details class="all-models">' in page
    assert page.count("On its way") == 2
    InferenceModel.objects.get(slug="sd15").start_pull()
    assert '<details class="all-models" open>' in client.get("/models/").content.decode()


def test_what_is_not_installed_cannot_be_turned_off(client: Client, installed: InferenceModel) -> None:
    page = client.get("/models/").content.decode()
    assert re.findall(r'aria-label="Turn (.+?)"', page) == ["off Stable Diffusion 1.5"]
    InferenceModel.objects.filter(slug="sd2-inpainting").update(enabled=False)
    assert "Turn on Stable Diffusion 2 inpainting" in client.get("/models/").content.decode()


def test_administrators_see_which_models_are_known_from_a_stand_in_only(client: Client, administrator: User) -> None:
    columns = {"label": "Ours", "family": "lama", "source": Source.FILE}
    InferenceModel.objects.create(slug="my-eraser", **columns)
    page = client.get("/models/").content.decode()
    assert 'aria-label="Untried: LaMa">Untried</button>' in page
    assert re.search(r'id="untried-lama" popover>Not yet tried with its published weights: .*stand-in network\.<', page)
    shown = set(re.findall(r'popovertarget="untried-([^"]+)"', page))
    assert shown == UNTRIED
    assert not {"my-eraser", *WEIGHTS_RUNS} & shown


def test_other_people_do_not_see_it(client: Client, alice: User) -> None:
    InferenceModel.objects.filter(slug__in=("lama", "sd15")).update(state=ModelState.INSTALLED)
    for user in (None, alice):
        if user:
            client.force_login(user)
        for path in ("/", "/models/", "/history/", "/api/models"):
            assert "untried" not in client.get(path, follow=True).content.decode().lower()


def test_loras_are_listed_only_with_the_view_permission(client: Client, administrator: User, models_dir: Path) -> None:
    assert "LoRAs: small changes" not in client.get("/models/").content.decode()
    from_hub = {"repo": "somebody/ink", "revision": "5e1f0c0d" * 5, "licence": "openrail++"}
    Lora.objects.create(slug="ink", label="Ink drawing", family="sd", size_bytes=2**20, sha256="0" * 64, **from_hub)
    page = client.get("/models/").content.decode()
    for words in ("Ink drawing", "somebody/ink", ">5e1f0c0d<", "openrail++", "1.0\xa0MB"):
        assert words in page
    lora = Lora.objects.get()
    assert f'href="/admin/inpainting/lora/{lora.pk}/change/"' in page
    assert "File missing" in page
    lora.path.parent.mkdir(parents=True)
    lora.path.touch()
    assert "File missing" not in client.get("/models/").content.decode()
    staff = User.objects.create_user("staff@example.com", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_inferencemodel"))
    client.force_login(staff)
    assert "Ink drawing" not in client.get("/models/").content.decode()


def test_staff_without_the_change_permission_get_no_buttons(client: Client, db: None) -> None:
    staff = User.objects.create_user("staff@example.com", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_inferencemodel"))
    client.force_login(staff)
    assert "/pull/" not in client.get("/models/").content.decode()
    assert client.post("/models/sd15/switch/").status_code == 404


def test_the_forms_require_a_csrf_token(administrator: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(administrator)
    for action in ("pull", "remove", "switch"):
        assert client.post(f"/models/sd15/{action}/").status_code == 403


def test_a_model_is_disabled_and_enabled(client: Client, administrator: User) -> None:
    client.post("/models/sd15/switch/", {"enabled": "off"})
    assert not InferenceModel.objects.get(slug="sd15").enabled
    client.post("/models/sd15/switch/", {"enabled": "on"})
    assert InferenceModel.objects.get(slug="sd15").enabled


def test_the_files_of_a_model_are_removed(client: Client, installed: InferenceModel, tmp_path: Path) -> None:
    assert "Remove files" in client.get("/models/").content.decode()
    client.post("/models/sd15/remove/")
    installed.refresh_from_db()
    assert installed.state == ModelState.NOT_INSTALLED
    assert not (tmp_path / "sd15").exists()


def test_a_pull_shows_its_progress_and_its_error(client: Client, administrator: User) -> None:
    model = InferenceModel.objects.get(slug="sd15")
    model.start_pull()
    model.progress(500, 2000, "Getting unet")
    page = client.get("/models/").content.decode()
    assert 'value="25"' in page
    assert "Getting unet" in page
    answer = client.post("/models/sd15/pull/", follow=True)
    assert "being downloaded already" in answer.content.decode()
    model.fail_pull("The hub cannot be reached.")
    assert "The hub cannot be reached." in client.get("/models/").content.decode()


def test_the_news_of_a_pull_have_the_language_of_the_page(client: Client, administrator: User) -> None:
    model = InferenceModel.objects.get(slug="sd15")
    model.start_pull()
    assert "Beginnt" in client.get("/models/", headers={"accept-language": "de"}).text
    model.progress(500, 2000, sentence("Getting {file}", file="unet"))
    assert "Lädt unet" in client.get("/models/", headers={"accept-language": "de"}).text
    model.fail_pull(sentence("The hub cannot be reached for {repo}: {reason}", repo="a/b", reason="away"))
    assert "The hub cannot be reached for a/b: away" in client.get("/models/").text
    assert (
        "Der Hub ist für a/b nicht erreichbar: away" in client.get("/models/", headers={"accept-language": "de"}).text
    )


def test_the_reason_why_a_model_is_refused_has_the_language_of_the_page(
    client: Client, administrator: User, tmp_path: Path
) -> None:
    damaged = tmp_path / "model.gguf"
    damaged.write_bytes(b"GGUF")
    plain = FluxFile(Path("plain.safetensors"), {"img_in.weight": {"shape": [3072, 64]}})
    model = InferenceModel.objects.get(slug="sd15")
    for check, english, german in (
        (
            lambda: refuse_known({"head.modulation": {}}, IT),
            "It is a transformer of Wan, which is not supported.",
            "Diese Datei ist ein Transformer von Wan, was nicht unterstützt wird.",
        ),
        (
            lambda: read_gguf_header(damaged),
            "model.gguf is damaged: Its header does not fit.",
            "model.gguf ist beschädigt: Der Kopf passt nicht hinein.",
        ),
        (
            lambda: plain.check("flux-fill"),
            "plain.safetensors is a transformer of FLUX with 64 input channels; FLUX.1 Fill has 384. Add it with "
            "--family flux-dev if it is FLUX.1 [dev] or --family flux-kontext if it is FLUX.1 Kontext.",
            "plain.safetensors ist ein Transformer von FLUX mit 64 Eingangskanälen; FLUX.1 Fill hat 384. Fügen Sie es "
            "mit --family flux-dev (wenn es FLUX.1 [dev] ist) oder --family flux-kontext (wenn es FLUX.1 Kontext ist) "
            "hinzu.",
        ),
    ):
        with pytest.raises(ModelRefused) as refused:
            check()
        model.start_pull()
        model.fail_pull(refused.value.message)
        assert english in client.get("/models/").text
        assert german in client.get("/models/", headers={"accept-language": "de"}).text


def test_a_pull_that_has_stopped_says_so(client: Client, administrator: User) -> None:
    model = InferenceModel.objects.get(slug="sd15")
    model.start_pull()
    assert 'data-state="pulling"' in client.get("/models/").content.decode()
    InferenceModel.objects.filter(pk=model.pk).update(lease_until=timezone.now())
    page = client.get("/models/").content.decode()
    assert 'data-state="pulling"' not in page
    assert ">Stopped</span>" in page


def test_installed_models_come_first_and_addresses_have_no_hash(client: Client, installed: InferenceModel) -> None:
    page = client.get("/models/")
    (group,) = [group for group in page.context["groups"] if group.title == "Models that follow a prompt"]
    assert group.models[0] == installed
    assert len(group.models) > 1
    hashed = InferenceModel.objects.filter(repo__contains="#md5=")
    assert hashed[0].repo.partition("#")[0] in page.content.decode()
    assert "#md5=" not in page.content.decode()


def test_a_pull_that_cannot_start_shows_the_reason(
    client: Client, administrator: User, settings: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings.MODELS_DIR = tmp_path / "file" / "models"
    page = client.post("/models/sd15/pull/", follow=True).content.decode()
    assert "The pull could not start: Not a directory." in page
    assert InferenceModel.objects.get(slug="sd15").state == ModelState.FAILED


def test_the_admin_edits_a_model_and_a_new_revision_clears_the_checksums(
    client: Client, installed: InferenceModel, tmp_path: Path
) -> None:
    InferenceModel.objects.filter(pk=installed.pk).update(files={"x": {"sha256": "0", "size": 1}}, revision="a" * 40)
    url = f"/admin/inpainting/inferencemodel/{installed.pk}/change/"
    form = client.get(url).context["adminform"].form
    fields = {name: "" if value is None else value for name, value in form.initial.items()} | {"aliases": "[]"}
    assert client.post(url, {**fields, "label": "Ours"}).status_code == 302
    installed.refresh_from_db()
    assert (installed.label, list(installed.files)) == ("Ours", ["x"])
    assert client.post(url, {**fields, "label": "Ours", "revision": "b" * 40}).status_code == 302
    installed.refresh_from_db()
    assert (installed.revision, installed.files) == ("b" * 40, {})
    refused = client.post(url, {**fields, "label": "Ours", "aliases": '["sdxl"]'})
    assert "is a name of sdxl already" in refused.content.decode()
    assert client.get("/admin/inpainting/inferencemodel/add/").status_code == 200
    client.post(f"/admin/inpainting/inferencemodel/{installed.pk}/delete/", {"post": "yes"})
    assert not InferenceModel.objects.filter(slug="sd15").exists()
    assert not (tmp_path / "sd15").exists()


def test_groups_without_installed_models_are_folded_except_the_first(client: Client, administrator: User) -> None:
    def opened() -> list[bool]:
        found = re.findall(r'<details class="model-group"( open)?>', client.get("/models/").content.decode())
        return [bool(item) for item in found]

    before = opened()
    assert len(before) > 5
    assert before == [True] + [False] * (len(before) - 1)
    InferenceModel.objects.filter(slug__contains="sam").update(state=ModelState.FAILED)
    assert sum(opened()) == 2


def test_a_model_that_crashed_the_server_while_it_was_loading_is_shown(
    client: Client, installed: InferenceModel, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path / "data"
    (tmp_path / "data/loads").mkdir(parents=True)
    refused = "is not loaded: the server crashed 3 times in a row while loading it."
    for page in ("/models/", "/admin/"):
        assert refused not in client.get(page).content.decode()
    for pid in range(interrupted_loads.MAX_CRASHES):
        name = f"sd15@{fingerprint(installed.weights):x}@host:{pid}:parent@{interrupted_loads.CRASHED}"
        (interrupted_loads.folder() / name).touch()
    for page in ("/models/", "/admin/"):
        assert f"{installed.label} {refused}" in client.get(page).content.decode()
