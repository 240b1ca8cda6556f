"""What several tests of live figures need."""

import pytest
import torch


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
