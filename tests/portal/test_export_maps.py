"""A run's maps leave as DICOM: by those who may, exactly, under the archive's UIDs, and never past the gate."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client
from pydicom import Dataset, dcmread

from inference.phantoms import breast_case, chest
from portal.accounts.models import Organisation
from portal.archive.models import Instance, Study
from portal.core import blinding, storage
from portal.export.models import MapExport
from portal.infer import actions, execute
from portal.infer.models import CaseResult, Matrix, Run
from tests.factories import archive as make
from tests.factories.archive import plain_static  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)
KINDS = ["seg", "seg-binary", "pm", "sc"]


@pytest.fixture
def lakeside() -> Organisation:
    call_command("concord_register_packages")
    return make.organisation()


@pytest.fixture
def engineer(lakeside: Organisation) -> Client:
    client = Client()
    client.force_login(make.user("erin", lakeside, "engineer"))
    return client


def done(study: Study) -> Run:
    [run] = actions.plan_runs(study.pk)
    run = execute.execute_run(run.pk)
    assert run.state == Run.State.DONE, run.error
    return run


@pytest.fixture
def chest_run(lakeside: Organisation, tmp_path: Path) -> Run:
    [path] = chest(7, classes=("Effusion", "Nodule"), size=(320, 320)).write(tmp_path / "chest")
    return done(make.settled([path.read_bytes()], lakeside))


@pytest.fixture
def breast_run(lakeside: Organisation, tmp_path: Path) -> Run:
    files = breast_case(41, malignant=True, size=(640, 520)).write(tmp_path / "breast")
    run = done(make.settled([path.read_bytes() for path in files], lakeside))
    assert run.result.call
    return run


def take(client: Client, run: Run, kind: str, **body: str) -> tuple[list[Dataset], dict[str, object]]:
    answer = ask(client, f"/api/v1/runs/{run.pk}/maps/", kind, **body)
    assert answer.status_code == 200, answer.content
    data = b"".join(answer.streaming_content)
    assert answer["Content-Type"] == "application/zip" and answer["Content-Length"] == str(len(data))
    assert answer["ETag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        files = {entry["name"]: entry["sha256"] for entry in manifest["files"]}
        assert set(archive.namelist()) == {*files, "manifest.json"}
        contents = [archive.read(name) for name in files]
    assert [hashlib.sha256(content).hexdigest() for content in contents] == list(files.values())
    return [dcmread(io.BytesIO(content)) for content in contents], manifest


def ask(client: Client, address: str, kind: str, **body: str) -> HttpResponse:
    kind_of = {"content_type": "application/json"} if address.startswith("/api/") else {}
    return client.post(address, {"kind": kind, **body}, **kind_of)


def stored(run: Run, sop_uid: str) -> np.ndarray:
    row = Matrix.objects.get(image__run=run, image__instance__sop_uid=sop_uid, row=64)
    return np.frombuffer(gzip.decompress(bytes(row.data)), np.uint8).reshape(row.shape)


def source_of(ds: Dataset) -> str:
    if "SourceImageSequence" in ds:
        return str(ds.SourceImageSequence[0].ReferencedSOPInstanceUID)
    return str(ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID)


def test_objects_are_valid_and_carry_what_the_archive_holds(chest_run: Run, engineer: Client, tmp_path: Path) -> None:
    instance = Instance.objects.get()
    archived = dcmread(instance_path(instance), stop_before_pixels=True)
    found = {}
    for kind in KINDS:
        found[kind], manifest = take(engineer, chest_run, kind)
        assert manifest["notice"] == "Research use only." and manifest["run"] == str(chest_run.pk)
        for ds in found[kind]:
            assert ds.StudyInstanceUID == chest_run.study.study_uid and source_of(ds) == instance.sop_uid
            for keyword in ("PatientName", "PatientID", "PatientSex", "AccessionNumber", "StudyDate"):
                assert str(ds.get(keyword, "")) == str(archived.get(keyword, "")), keyword
            assert ds.DeviceSerialNumber == chest_run.version.weights_sha256
            ds.save_as(tmp_path / "made.dcm")
            done = subprocess.run(["dciodvfy", str(tmp_path / "made.dcm")], capture_output=True, text=True, check=False)
            assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []
    matrix = stored(chest_run, instance.sop_uid)
    assert np.array_equal(found["pm"][0].pixel_array, matrix / np.float32(255))
    wide = matrix.repeat(5, axis=1).repeat(5, axis=2)  # 320 pixels, 5 a cell
    assert np.array_equal(found["seg"][0].pixel_array, wide)
    limits = chest_run.provenance["parameters"]["region_thresholds"]
    over = np.stack([wide[k] >= 255 * limits[name] for k, name in enumerate(chest_run.images.get().classes)])
    assert over.any() and np.array_equal(found["seg-binary"][0].pixel_array, over)
    assert [len(found[kind]) for kind in KINDS] == [1, 1, 1, 2]  # the two findings drawn into the phantom are present


def instance_path(instance: Instance) -> Path:
    return Path(storage.archive().path(instance.name))


def test_taking_out_is_recorded_and_repeats_exactly(chest_run: Run, engineer: Client) -> None:
    for _ in range(2):
        take(engineer, chest_run, "seg")
    first, second = MapExport.objects.order_by("pk")
    assert first.sha256 == second.sha256 and first.size == second.size and first.objects_count == 1
    assert (first.kind, first.run, first.taken_by.username) == ("seg", chest_run, "erin")  # type: ignore[union-attr]
    assert first.organisation == chest_run.organisation


def test_a_called_case_gives_all_its_images_or_one(breast_run: Run, engineer: Client) -> None:
    made, _ = take(engineer, breast_run, "pm")
    uids = set(Instance.objects.values_list("sop_uid", flat=True))
    assert {source_of(ds) for ds in made} == uids and len(made) == 4
    for ds in made:
        assert np.array_equal(ds.pixel_array, stored(breast_run, source_of(ds))[0] / np.float32(255))
    wanted = sorted(uids)[0]
    [one], _ = take(engineer, breast_run, "seg", sop_uid=wanted)
    assert source_of(one) == wanted


def test_no_place_leaves_a_case_that_is_not_called(breast_run: Run, engineer: Client) -> None:
    # even if matrices of it were stored, as they are here
    CaseResult.objects.filter(run=breast_run).update(call=False)
    assert Matrix.objects.filter(image__run=breast_run).exists()
    for kind in KINDS:
        answer = ask(engineer, f"/api/v1/runs/{breast_run.pk}/maps/", kind)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "held_back")
    page = engineer.post(f"/runs/{breast_run.pk}/maps/", {"kind": "sc"}, follow=True)
    assert page.redirect_chain[-1][0] == f"/scans/{breast_run.study.study_uid}/"
    assert b"not called malignant, so no place leaves" in page.content
    CaseResult.objects.filter(run=breast_run).delete()  # without a result nothing is called either
    assert ask(engineer, f"/api/v1/runs/{breast_run.pk}/maps/", "pm").status_code == 409
    assert not MapExport.objects.exists()


def test_who_may_take_maps_out(chest_run: Run, lakeside: Organisation, client: Client) -> None:
    addresses = [f"/api/v1/runs/{chest_run.pk}/maps/", f"/runs/{chest_run.pk}/maps/"]
    assert [ask(client, a, "pm").status_code for a in addresses] == [401, 302]
    harbour = make.organisation("harbour")
    people = {
        "carol": (make.user("carol", lakeside, "coordinator"), 200),
        "dave": (make.user("dave", lakeside, "pacs_admin"), 200),
        "alice": (make.user("alice", lakeside, "reader"), 404),
        "ada": (make.user("ada", lakeside, "auditor"), 404),
        "mallory": (make.user("mallory", harbour, "engineer", "coordinator", "pacs_admin"), 404),
    }
    for name, (person, wanted) in people.items():
        client.force_login(person)
        assert [ask(client, a, "pm").status_code for a in addresses] == [wanted] * 2, name
        assert [client.get(a).status_code for a in addresses] == [405, 405]
    mine = Run.objects.filter(pk=chest_run.pk).values("study")
    rule = lambda user: mine if user.username == "carol" else mine.none()  # noqa: E731
    with mock.patch.dict(blinding._rules, {rule: "true"}):
        client.force_login(people["carol"][0])
        assert [ask(client, a, "pm").status_code for a in addresses] == [404, 404]


def test_what_cannot_be_taken_out_is_said(chest_run: Run, engineer: Client) -> None:
    address = f"/api/v1/runs/{chest_run.pk}/maps/"
    assert ask(engineer, address, "gif").status_code == 400
    assert ask(engineer, address, "pm", sop_uid="1.2.3").json()["error"]["code"] == "no_maps"
    page = engineer.post(f"/runs/{chest_run.pk}/maps/", {"kind": "gif"}, follow=True)
    assert b"Kinds are seg" in page.content
    path = instance_path(Instance.objects.get())
    content = path.read_bytes()
    path.unlink()
    assert ask(engineer, address, "pm").json()["error"]["code"] == "unreadable_image"
    path.write_bytes(content[:900])
    assert ask(engineer, address, "sc").json()["error"]["code"] == "unreadable_image"
    Run.objects.filter(pk=chest_run.pk).update(state="failed")
    assert ask(engineer, address, "pm").json()["error"]["code"] == "wrong_state"
    assert not MapExport.objects.exists()


def test_the_scans_page_offers_it_to_those_who_may(
    chest_run: Run, lakeside: Organisation, engineer: Client, client: Client
) -> None:
    address = f"/runs/{chest_run.pk}/maps/"
    page = f"/scans/{chest_run.study.study_uid}/output/"
    shown = engineer.get(page).content.decode()
    assert f'action="{address}"' in shown and all(f'value="{kind}"' in shown for kind in KINDS)
    client.force_login(make.user("alice", lakeside, "reader"))
    assert address not in client.get(page).content.decode()
    answer = ask(engineer, address, "sc")
    assert answer["Content-Disposition"] == (
        f'attachment; filename="heatmap-chest-phantom-{str(chest_run.pk)[:8]}-sc.zip"'
    )
    Matrix.objects.all().delete()
    assert address not in engineer.get(page).content.decode()


def test_parallel_slices_leave_as_one_volume(chest_run: Run, engineer: Client, lakeside: Organisation) -> None:
    """A run with maps of every slice of a CT series, stored as a function would store them."""
    study, series = str(make.generate_uid()), str(make.generate_uid())
    place = {"FrameOfReferenceUID": "2.25.77", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
    scan = make.settled(
        [
            make.image("CT", study=study, series=series, seed=n, InstanceNumber=n + 1, SliceThickness=2,
                       ImagePositionPatient=[0, 0, 2 * n], PositionReferenceIndicator="", **place)
            for n in range(5)
        ],
        lakeside,
    )  # fmt: skip
    first = chest_run.images.get()
    run = Run.objects.create(
        organisation=lakeside, study=scan, study_revision=5, version=chest_run.version, state=Run.State.DONE,
        provenance=chest_run.provenance,
    )  # fmt: skip
    CaseResult.objects.create(run=run, call=True)
    names = first.classes
    given = np.random.default_rng(9).integers(0, 256, (5, len(names), 64, 64)).astype(np.uint8)
    for instance, values in zip(scan.instances.order_by("number"), given, strict=True):
        image = run.images.create(
            instance=instance, classes=names, global_probabilities=first.global_probabilities,
            present=first.present, thresholds=first.thresholds,
        )  # fmt: skip
        Matrix.objects.create(image=image, row=64, shape=[len(names), 64, 64], data=gzip.compress(values.tobytes()))
    [volume], manifest = take(engineer, run, "seg")
    assert volume.NumberOfFrames == 5 * len(names) and len(manifest["files"]) == 1  # type: ignore[arg-type]
    for group, frame in zip(volume.PerFrameFunctionalGroupsSequence, volume.pixel_array, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        height = float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        assert np.array_equal(frame, given[round(height / 2), number - 1])
    captures, _ = take(engineer, run, "sc")
    assert len(captures) == 5 * 2  # picture by picture: two classes are present in each
