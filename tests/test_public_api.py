"""The names that `import motionseek` gives."""

from __future__ import annotations

import subprocess
import sys

import pytest

import motionseek


@pytest.mark.parametrize("name", motionseek.__all__)
def test_every_public_name_resolves(name):
    value = getattr(motionseek, name)
    assert value.__name__ == name
    assert value.__doc__


def test_all_is_sorted_and_complete():
    assert motionseek.__all__ == sorted(motionseek.__all__)
    assert set(motionseek._HOME_OF) == set(motionseek.__all__)
    assert set(motionseek.__all__) <= set(dir(motionseek))
    with pytest.raises(AttributeError):
        motionseek.no_such_name  # noqa: B018


def test_import_is_light():
    script = "import sys, motionseek; sys.exit(str({'torch', 'lancedb', 'numpy'} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "", done.stderr


def test_every_error_is_public():
    from motionseek import errors

    assert set(errors.__all__) <= set(motionseek.__all__)
