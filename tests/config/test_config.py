"""Settings: one source of defaults, three ways to change them, and no silence about a mistake."""

import math
import tomllib
from pathlib import Path

import pytest

from camserve.config import Settings, load_settings, shipped
from camserve.errors import ConfigError


def test_config_toml_holds_every_setting_and_nothing_else() -> None:
    written = tomllib.loads(shipped("config.toml").read_text())
    for section, field in Settings.model_fields.items():
        keys = set(field.annotation.model_fields)
        assert set(written.pop(section)) == keys
    assert not written


def test_every_setting_has_its_reason_beside_it() -> None:
    for line in shipped("config.toml").read_text().splitlines():
        if "=" in line and not line.lstrip().startswith("#"):
            assert "#" in line, f"no reason given: {line}"


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[serve]\nport = 1\nhost = "0.0.0.0"\n')
    environ = {"CAMSERVE_CONFIG": str(file), "CAMSERVE_SERVE_PORT": "2"}
    assert load_settings(environ=environ).serve.port == 2
    chosen = load_settings(environ=environ, overrides={"serve": {"port": 3, "host": None}})
    assert (chosen.serve.port, chosen.serve.host) == (3, "0.0.0.0")


def test_environment_variables_take_numbers_names_and_path_lists() -> None:
    environ = {
        "CAMSERVE_EXPLAIN_SIZE": "320",
        "CAMSERVE_LIMITS_MEGAPIXELS": "12.5",
        "CAMSERVE_LIMITS_LOCAL_MEGAPIXELS": "200",
        "CAMSERVE_LIMITS_LOCAL_MEGABYTES": "0.5",
        "CAMSERVE_IMAGES_ICC": "ignore",
        "CAMSERVE_MODELS_FOLDERS": "/a:/b",
    }
    chosen = load_settings(environ=environ)
    assert chosen.explain.size == 320
    assert chosen.limits.max_pixels == 12_500_000
    assert (chosen.limits.max_local_pixels, chosen.limits.max_local_bytes) == (200_000_000, 2**19)
    assert not chosen.images.to_srgb
    assert chosen.models.folders == (Path("/a"), Path("/b"))


def test_a_variable_takes_a_list_as_a_file_writes_it_too() -> None:
    environ = {
        "CAMSERVE_MODELS_FOLDERS": '["/a", "/b:c"]',
        "CAMSERVE_SERVE_PRELOAD": "finch, wren",
        "CAMSERVE_SERVE_CORS_ORIGINS": '["https://a.example.org"]',
        "CAMSERVE_SHARP_SCALES": "[1, 2.5]",
        "CAMSERVE_SERVE_TOKEN": "[secret-of-sixteen]",
    }
    chosen = load_settings(environ=environ)
    assert chosen.models.folders == (Path("/a"), Path("/b:c"))
    assert (chosen.serve.preload, chosen.serve.cors_origins) == (("finch", "wren"), ("https://a.example.org",))
    assert (chosen.sharp.scales, chosen.serve.token.get_secret_value()) == ((1, 2.5), "[secret-of-sixteen]")
    with pytest.raises(ConfigError, match=r"CAMSERVE_MODELS_FOLDERS = '\[/a\]' is not a list; write it as"):
        load_settings(environ={"CAMSERVE_MODELS_FOLDERS": "[/a]"})


def test_kubernetes_service_links_are_not_settings() -> None:
    environ = {
        "CAMSERVE_SERVICE_HOST": "10.0.0.1",
        "CAMSERVE_PORT": "tcp://10.0.0.1:80",
        "CAMSERVE_PORT_80_TCP_ADDR": "10.0.0.1",
        "CAMSERVE_PORT_80_TCP": "tcp://10.0.0.1:80",
        "CAMSERVE_SERVICE_PORT_HTTP": "80",
        "CAMSERVE_PREDICTOR_SERVICE_HOST": "10.0.0.1",
        "CAMSERVE_PREDICTOR_PORT": "tcp://10.0.0.1:80",
        "CAMSERVE_PREDICTOR_PORT_80_TCP_PROTO": "tcp",
    }
    assert load_settings(environ=environ) == load_settings(environ={})
    assert load_settings(environ={**environ, "CAMSERVE_SERVE_PORT": "9"}).serve.port == 9
    with pytest.raises(ConfigError, match="'CAMSERVE_SERV_PORT'; did you mean 'CAMSERVE_SERVE_PORT'"):
        load_settings(environ={**environ, "CAMSERVE_SERV_PORT": "9"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[serv]\nport = 1", "unknown section 'serv'; did you mean 'serve'"),
        ("[serve]\nprot = 1", r"unknown key in \[serve\] 'prot'; did you mean 'port'"),
        ("serve = 3", r"'serve' is a section: write \[serve\]"),
        ("[render]\nalpha = 2", r"render\.alpha = 2: should be less than or equal to 1"),
        ("[explain]\nsize = 'fitt'", r"explain\.size = 'fitt'.*'fit', 'crop' or 'native'"),
        (
            "[explain]\nmethod = 'grad_cam'",
            r"explain\.method = 'grad_cam': unknown method 'grad_cam'; did you mean 'gradcam'",
        ),
        (
            "[render]\ncolormap = 'infrno'",
            r"render\.colormap = 'infrno': unknown colour map 'infrno'; did you mean 'inferno'",
        ),
        ("[render]\nsigned_colormap = 'icefir'", r"render\.signed_colormap = 'icefir': unknown colour map"),
        ("[limits]\nmegapixels = inf", r"limits\.megapixels = inf: should be a finite number"),
        ("[serve]\ndeadline_seconds = inf", r"serve\.deadline_seconds = inf: should be less than or equal to 86400"),
        ("[serve]\nmemory_megabytes = nan", r"serve\.memory_megabytes = nan: should be a finite number"),
        ("[serve", "is not valid TOML"),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_settings(file, environ={})


def test_a_mistake_in_the_environment_is_named() -> None:
    with pytest.raises(ConfigError, match="'CAMSERVE_SERVE_PROT'; did you mean 'CAMSERVE_SERVE_PORT'"):
        load_settings(environ={"CAMSERVE_SERVE_PROT": "1"})


def test_a_settings_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot read the settings file 'nowhere\.toml'"):
        load_settings("nowhere.toml", environ={})


HOSTILE = [
    math.nan,
    math.inf,
    -1,
    10**9,
    10**30,
    10**400,
    10**5000,
    1e-320,
    1e308,
    True,
    "9" * 5000,
    "a" * 5000,
    [1e308, 1],
]


@pytest.mark.parametrize(
    ("section", "key"),
    [(section, key) for section, keys in tomllib.loads(shipped("config.toml").read_text()).items() for key in keys],
)
def test_absurd_values_are_config_errors(section: str, key: str) -> None:
    is_number = type(tomllib.loads(shipped("config.toml").read_text())[section][key]) in (int, float)
    for value in HOSTILE:
        try:
            limits = load_settings(environ={}, overrides={section: {key: value}}).limits
        except ConfigError as error:
            assert f"{section}.{key}" in str(error)
            assert len(str(error)) < 1000
            continue
        assert not is_number or (key, value) == ("side", 10**9) or value == 1e-320
        assert max(limits.max_pixels, limits.max_bytes, limits.max_local_pixels, limits.max_local_bytes) < 2**63


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "1" * 5000, "a = \xff", "a = 1\x00"])
def test_what_is_no_toml_is_a_config_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.toml").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_settings(tmp_path / "mine.toml", environ={})


def test_a_settings_file_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text("#" * 2**20 + "\n")
    with pytest.raises(ConfigError, match="the settings file '.*long.toml' is larger than 1 MB"):
        load_settings(tmp_path / "long.toml", environ={})
