"""The document of the editor, its undo and redo, operations, store and images, run in a browser."""

from __future__ import annotations

import hashlib

import pytest

from tests.browser.conftest import RANDOM, Run

pytestmark = [pytest.mark.browser, pytest.mark.smoke]

ID = "a" * 64


@pytest.mark.parametrize("seed", range(20))
def test_undo_and_redo_equal_a_plain_model(run: Run, seed: int) -> None:
    """Random entries, photos among them, undo and redo: the view is that of the entries of a stack."""
    body = f"""{RANDOM}
        state = {seed}
        const entry = (number) => {{
            const kind = ["photo", "mask", "mask", "mask", "frame"][whole(5)]
            if (kind === "photo") {{
                const photo = {{ id: String(number).padStart(64, "0"), name: "a.png", width: 9, height: 7 }}
                return {{ kind, photo, parent: random() < 0.5 ? null : String(number) }}
            }}
            if (kind === "frame") return {{ kind, frame: {{ left: number, top: 0, right: 1, bottom: 2 }} }}
            return {{ kind, operation: {{ kind: "grow", pixels: number }} }}
        }}
        const seen = ({{ photo, parent, frame, operations }}) => ({{ photo, parent, frame, operations }})
        const expected = (done) => {{
            const fresh = {{ photo: null, parent: null, frame: m.NO_FRAME, operations: [] }}
            return done.reduce((now, {{ kind, photo, parent, frame, operation }}) => ({{
                photo: () => ({{ ...fresh, photo, parent }}),
                frame: () => ({{ ...now, frame }}),
                mask: () => ({{ ...now, operations: [...now.operations, operation] }}),
            }})[kind](), fresh)
        }}
        let document = m.emptyDocument(), done = [], undone = []
        const mayUndo = () => done.length > (done[0]?.kind === "photo" ? 1 : 0) // the first photo stays
        const wrong = []
        for (let number = 0; number < 200; number++) {{
            const before = JSON.stringify(document)
            const old = document
            const action = whole(5)
            if (action < 2) {{
                if (mayUndo()) undone.push(done.pop())
                document = m.undo(document)
            }} else if (action === 2) {{
                if (undone.length) done.push(undone.pop())
                document = m.redo(document)
            }} else {{
                const added = entry(number)
                document = m.push(document, added)
                done.push(added)
                undone = []
            }}
            if (JSON.stringify(old) !== before) wrong.push([number, "the old document changed"])
            if (JSON.stringify(seen(m.view(document))) !== JSON.stringify(expected(done))) wrong.push([number, "view"])
            if (m.canUndo(document) !== mayUndo()) wrong.push([number, "canUndo"])
            if (m.canRedo(document) !== undone.length > 0) wrong.push([number, "canRedo"])
            const read = m.readDocument(JSON.parse(JSON.stringify(document)))
            if (JSON.stringify(read) !== JSON.stringify(document)) wrong.push([number, "JSON"])
        }}
        return wrong
    """
    assert run("editor/document/document", body) == []


def test_a_document_names_the_images_of_undone_entries_too(run: Run) -> None:
    body = """
        const file = { kind: "file", picture: "b".repeat(64), name: "m.png", repaints: "dark" }
        const photo = { id: "a".repeat(64), name: "a.png", width: 1, height: 1 }
        let document = m.push(m.emptyDocument(), { kind: "photo", photo })
        document = m.push(document, { kind: "mask", operation: { kind: "invert" } })
        return [...m.imageIds(m.undo(m.push(document, { kind: "mask", operation: file })))]
    """
    assert run("editor/document/document", body) == ["a" * 64, "b" * 64]


@pytest.mark.parametrize(
    "change",
    [
        "version: 2",
        "cursor: 1",
        "cursor: -1",
        "step: 'away'",
        "generation: 3",
        "entries: [{ kind: 'text' }]",
        "entries: [{ kind: 'frame', frame: { left: -1, top: 0, right: 0, bottom: 0 } }]",
        "entries: [{ kind: 'mask', operation: { kind: 'grow' } }]",
    ],
)
def test_a_damaged_document_is_refused(run: Run, change: str) -> None:
    body = f"""
        try {{ m.readDocument({{ ...m.emptyDocument(), {change} }}) }} catch (error) {{ return error.name }}
    """
    assert run("editor/document/document", body) == "RangeError"


OPERATIONS = [
    '{"kind":"stroke","erases":true,"size":5.5,"hardness":0.5,"points":[[1,2,1],[3.5,4,0.25]]}',
    '{"kind":"shape","erases":false,"shape":"ellipse","points":[[1,2],[-3,4]]}',
    '{"kind":"shape","erases":false,"shape":"polygon","points":[[1,2],[-3,4],[5,6]]}',
    '{"kind":"wand","erases":false,"x":1,"y":2.5,"tolerance":32,"contiguous":false}',
    f'{{"kind":"picture","erases":false,"picture":"{ID}","box":[0,1,2,3]}}',
    f'{{"kind":"file","picture":"{ID}","name":"m.png","repaints":"transparent"}}',
    '{"kind":"grow","pixels":-3}',
    '{"kind":"feather","pixels":2.5}',
    '{"kind":"fill-holes"}',
    '{"kind":"invert"}',
    '{"kind":"clear"}',
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_survives_json_and_cannot_be_changed(run: Run, operation: str) -> None:
    body = f"""
        const frozen = (value) =>
            typeof value !== "object" || (Object.isFrozen(value) && Object.values(value).every(frozen))
        const made = m.operation({operation})
        return [JSON.stringify(made), frozen(made)]
    """
    assert run("editor/document/operations", body) == [operation, True]


@pytest.mark.parametrize(
    "call",
    [
        "stroke({ size: 0, points: [[1, 1]] })",
        "stroke({ size: 5, points: [] })",
        "stroke({ size: 5, points: [[1, NaN]] })",
        "stroke({ size: 5, points: [[1, 1, 1.5]] })",
        "stroke({ size: 5, hardness: 2, points: [[1, 1]] })",
        "shape({ shape: 'star', points: [[0, 0], [1, 1]] })",
        "shape({ shape: 'polygon', points: [[0, 0], [1, 1]] })",
        "wand({ x: 1, y: 1, tolerance: 256 })",
        f"picture({{ picture: '{ID}', box: [3, 0, 1, 1] }})",
        "picture({ picture: 'b.png', box: [0, 0, 1, 1] })",
        f"file({{ picture: '{ID}', name: 'm.png', repaints: 'red' }})",
        "feather(-1)",
        "operation({ kind: 'blur' })",
    ],
)
def test_a_wrong_operation_is_refused(run: Run, call: str) -> None:
    body = f"try {{ m.{call} }} catch (error) {{ return error.name }}"
    assert run("editor/document/operations", body) == "RangeError"


def test_the_mask_file_is_kept_until_it_is_cleared(run: Run) -> None:
    body = f"""
        const file = m.file({{ picture: "{ID}", name: "a.png", repaints: "dark" }})
        return [[file, m.INVERT], [file, m.CLEAR], [m.INVERT]].map((each) => m.fileBeneath(each)?.name ?? null)
    """
    assert run("editor/document/operations", body) == ["a.png", None, None]


def test_the_store_calls_its_listeners_with_the_document_before_and_after(run: Run) -> None:
    body = """
        const store = new m.Store()
        const seen = []
        const end = store.subscribe((after, before) => seen.push([before.step, after.step]))
        const view = store.view
        store.update((document) => document)
        store.update((document) => ({ ...document, step: "painting" }))
        end()
        store.update((document) => ({ ...document, step: "result" }))
        return [seen, store.document.step, store.view === view]
    """
    assert run("editor/document/store", body) == [[["editing", "painting"]], "result", True]


def test_a_image_is_found_by_the_hash_of_its_file(run: Run) -> None:
    body = """
        const id = await m.put(new Blob(["photo"]))
        return [id, await (await m.get(id)).text(), await m.get("0".repeat(64))]
    """
    assert run("editor/document/images", body) == [hashlib.sha256(b"photo").hexdigest(), "photo", None]


@pytest.mark.parametrize("length", [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000])
def test_the_fallback_hash_is_sha_256(run: Run, length: int) -> None:
    body = f"return [...m.digestOf(new Uint8Array({length}).map((_, i) => i * 7).buffer)]"
    expected = hashlib.sha256(bytes(i * 7 % 256 for i in range(length))).digest()
    assert bytes(run("editor/document/sha256", body)) == expected
