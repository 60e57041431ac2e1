"""Documents that are not plain files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sessions import sample_session

from tara_export.dropin.outgoing import request_from_session


@pytest.mark.parametrize("kind", ["dangling", "folder", "pipe"])
def test_document_that_is_no_plain_file_is_a_warning(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "before.docx"
    if kind == "dangling":
        path.symlink_to(tmp_path / "gone.docx")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    reason = {"dangling": "a link that leads nowhere", "folder": "a folder", "pipe": "a pipe"}[kind]
    outgoing, warnings = request_from_session(sample_session(guidelines_path=None), path, None)
    assert outgoing.documents == ()
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{path}: {reason}")
    assert warnings[0].endswith("so the bundle does not contain it")
