"""The sample of an archive tier does what it shows."""

import pytest

from samples import glacier_restore


def test_sample_thaws_only_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(glacier_restore, "THAW_SECONDS", 0.0)
    glacier_restore.main()
    said = capsys.readouterr().out
    assert said.count("thaw   ") == 2
    assert "no way to thaw it was chosen" in said
    assert "2 files restored" in said
