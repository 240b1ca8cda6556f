"""What several tests of live figures need."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import torch

WHOLE = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}
}  # cells out of sight too


class Elsewhere(torch.Tensor):
    """Latents as on another device: refused beside a network's weights until `.to` has moved them."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.to and isinstance(args[0], cls):
            return args[0].as_subclass(torch.Tensor).to(*args[1:], **kwargs or {})
        if any(isinstance(value, torch.nn.Parameter) for value in args):
            raise RuntimeError("expected all tensors to be on the same device")
        return super().__torch_function__(function, types, args, kwargs)


@pytest.fixture
def elsewhere():
    """A function that puts latents on what passes for another device, as a test has but one."""
    return lambda latents: latents.as_subclass(Elsewhere)


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory):
    """A function that starts a server in a folder, and returns its address: JupyterLab's, and Notebook's below /tree."""
    servers = []

    def start(home, **variables):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = tmp_path_factory.mktemp("jupyter")
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        environment = os.environ | {name: str(place / name.lower()) for name in names} | variables
        settings = place / "jupyter_config_dir" / "labconfig"
        settings.mkdir(parents=True)
        (settings / "default_setting_overrides.json").write_text(
            json.dumps(WHOLE), encoding="utf-8"
        )
        options = [
            f"--port={port}",
            "--ip=127.0.0.1",
            "--no-browser",
            "--allow-root",
            "--IdentityProvider.token=",
            "--ServerApp.disable_check_xsrf=True",
        ]
        with open(place / "log", "w", encoding="utf-8") as log:
            command = [sys.executable, "-m", "jupyter", "lab", *options]
            servers.append(
                subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
            )
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                return address
            except OSError:
                assert servers[-1].poll() is None, (place / "log").read_text(encoding="utf-8")[
                    -2000:
                ]
                time.sleep(0.5)
        raise AssertionError((place / "log").read_text(encoding="utf-8")[-2000:])

    yield start
    for server in servers:
        server.terminate()
        server.wait(30)
