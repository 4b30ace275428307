"""What reaches the service's log."""

import json
import logging

import pytest

from camserve.web.logs import log_to_stderr


def test_what_pillow_says_of_a_clients_picture_is_no_error_of_the_service(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, pillow = logging.getLogger(), logging.getLogger("PIL")
    monkeypatch.setattr(root, "handlers", [])
    levels = root.level, pillow.level
    try:
        log_to_stderr()
        logging.getLogger("PIL.TiffImagePlugin").error("More samples per pixel than can be decoded: %s", 9)
        logging.getLogger("PIL.TiffImagePlugin").critical("lost")
        logging.getLogger("camserve").info("ours")
    finally:
        root.setLevel(levels[0])
        pillow.setLevel(levels[1])
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(one["level"], one["message"]) for one in said] == [("critical", "lost"), ("info", "ours")]
